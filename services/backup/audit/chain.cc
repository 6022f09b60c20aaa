#include "services/backup/audit/chain.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/hex.h"
#include "crypto/hmac_sha256.h"
#include "crypto/sha256.h"

namespace backup::audit {
namespace {

// What each message under the key begins with: an entry is no head. Never change one, nor the order
// of fields below: what is there already would not verify any more.
constexpr absl::string_view kEntry = "backup audit entry 1\n";
constexpr absl::string_view kNewest = "backup audit head 1\n";
constexpr absl::string_view kRemoved = "backup audit removed 1\n";

void AddNumber(std::string& bytes, int64_t number) {
  for (int shift = 0; shift < 64; shift += 8)
    bytes.push_back(static_cast<char>(static_cast<uint64_t>(number) >> shift));
}

// With its size before it: no two entries have the same bytes.
void AddText(std::string& bytes, absl::string_view text) {
  AddNumber(bytes, static_cast<int64_t>(text.size()));
  absl::StrAppend(&bytes, text);
}

std::string Mac(absl::string_view key, absl::string_view message) {
  crypto::HmacSha256 hmac(key);
  hmac.Update(message);
  return hmac.Finish();
}

}  // namespace

std::string Chain::Origin() { return std::string(crypto::kSha256Size, '\0'); }

std::string Chain::Link(absl::string_view before, const storage::AuditEntry& entry) const {
  std::string bytes(kEntry);
  AddText(bytes, before);
  AddNumber(bytes, entry.number);
  AddNumber(bytes, absl::ToUnixMicros(entry.time));
  AddText(bytes, entry.actor);
  AddText(bytes, entry.role);
  AddText(bytes, entry.peer);
  AddText(bytes, entry.action);
  AddText(bytes, entry.client ? absl::string_view(entry.client->bytes()) : absl::string_view());
  AddText(bytes, entry.object);
  AddNumber(bytes, entry.version_id);
  AddText(bytes, entry.outcome);
  AddText(bytes, entry.detail);
  return Mac(key_, bytes);
}

std::string Chain::Signature(HeadKind kind, const Head& head) const {
  std::string bytes(kind == HeadKind::kNewest ? kNewest : kRemoved);
  AddNumber(bytes, head.number);
  AddNumber(bytes, absl::ToUnixMicros(head.time));
  AddText(bytes, head.chain);
  return Mac(key_, bytes);
}

std::string Chain::Sign(HeadKind kind, const Head& head) const {
  return absl::StrCat(head.number, " ", absl::ToUnixMicros(head.time), " ",
                      absl::BytesToHexString(head.chain), " ",
                      absl::BytesToHexString(Signature(kind, head)));
}

std::optional<Head> Chain::Read(HeadKind kind, absl::string_view text) const {
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  int64_t micros = 0;
  Head head;
  if (fields.size() != 4 || !absl::SimpleAtoi(fields[0], &head.number) ||
      !absl::SimpleAtoi(fields[1], &micros))
    return std::nullopt;
  head.time = absl::FromUnixMicros(micros);
  head.chain = HexToBytes(fields[2]).value_or("");
  // Who may guess signatures one by one may as well write the catalog.
  if (HexToBytes(fields[3]) != Signature(kind, head)) return std::nullopt;
  return head;
}

}  // namespace backup::audit
