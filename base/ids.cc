#include "base/ids.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "glog/logging.h"

namespace backup {

std::string ToUuidText(absl::string_view bytes) {
  CHECK_EQ(bytes.size(), 16u);
  const std::string hex = absl::BytesToHexString(bytes);
  const absl::string_view h = hex;
  return absl::StrCat(h.substr(0, 8), "-", h.substr(8, 4), "-", h.substr(12, 4), "-",
                      h.substr(16, 4), "-", h.substr(20, 12));
}

std::optional<std::string> FromUuidText(absl::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::string hex;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash_belongs_here = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash_belongs_here != (text[i] == '-')) return std::nullopt;
    if (!dash_belongs_here) hex.push_back(text[i]);
  }
  return HexToBytes(hex);
}

std::string ToHex(const BlobId& id) { return absl::BytesToHexString(id.bytes()); }

std::optional<BlobId> BlobIdFromHex(absl::string_view hex) {
  const std::optional<std::string> bytes = HexToBytes(hex);
  return bytes ? BlobId::FromBytes(*bytes) : std::nullopt;
}

}  // namespace backup
