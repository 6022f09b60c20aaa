// What stands behind the payload of blobs, packs and snapshots: what is read is what was written,
// byte by byte, and all else is refused. Half of the inputs get the right trailer, as no fuzzer
// finds a CRC.

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "content/blob_footer.h"
#include "content/footer_fields.h"
#include "content/pack_footer.h"
#include "content/snapshot_file.h"
#include "content/told_content.h"
#include "crypto/aead.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using content::PackFooter;
using storage::StorageForm;

const std::string& PackKey() {
  static const std::string& key = *new std::string(32, 'k');
  return key;
}

void CheckDamaged(const absl::Status& status) {
  CHECK(ReasonOf(status) == Reason::kBlobDamaged) << status;
}

void CheckEnd(const std::string& blob, const std::string& footer) {
  CHECK(absl::EndsWith(blob, footer));
  CHECK_EQ(*content::FooterSize(StringAccess(blob)), std::ssize(footer));
}

void TryBlobFooter(const std::string& blob) {
  const auto footer = content::ReadFooter(StringAccess(blob));
  if (!footer.ok()) return CheckDamaged(footer.status());
  CheckEnd(blob, content::EncodeFooter(*footer));
  CHECK_EQ(footer->payload_size + *content::FooterSize(StringAccess(blob)), std::ssize(blob));
  CHECK_EQ(content::VersionOf(*footer).version_id, footer->version_id);
  if (footer->form == StorageForm::kClientFormat) (void)content::FormOf(footer->cbc);
}

void TryPackFooter(const std::string& blob) {
  CHECK(content::IsPack(StringAccess(blob)).ok());
  const auto footer = content::ReadPackFooter(StringAccess(blob));
  if (!footer.ok()) return CheckDamaged(footer.status());
  CHECK(*content::IsPack(StringAccess(blob)));
  // Who has not the key cannot have sealed it.
  const bool is_ours = content::CheckPackSeal(*footer, PackKey()).ok();
  if (is_ours) CheckEnd(blob, content::EncodePackFooter(*footer, PackKey()));
  CHECK_EQ(content::CheckPackSeal(*footer, std::string(32, 'x')).ok(),
           footer->form == StorageForm::kPlain);
  int64_t parts_size = 0;
  content::ToldContent told;
  for (const PackFooter::Part& part : footer->parts) {
    parts_size += content::EncodedSize(part);
    told.Add(part);
  }
  CHECK_LE(parts_size, std::ssize(blob));
  CHECK(!told.IsWhole() || told.version().has_value());
  CHECK_LE(told.Steps().size(), content::kMaxFooterSteps);
}

void TrySnapshotFooter(const std::string& file) {
  const bool is_snapshot = *content::IsSnapshot(StringAccess(file));
  const auto footer = content::ReadSnapshotFooter(StringAccess(file));
  if (!footer.ok()) return CheckDamaged(footer.status());
  CHECK(is_snapshot);
  CHECK_LE(footer->payload_size, std::ssize(file));
  CheckDamaged(content::CheckSnapshotKey(*footer, crypto::MasterKey(std::string(32, 'm'))));
}

// The seal of a pack's footer, as content/pack_footer.cc makes it.
std::string SealOf(absl::string_view fields) {
  crypto::Aead::Nonce nonce;
  nonce.fill('\xFF');
  std::string seal;
  crypto::Aead(PackKey()).Seal(nonce, fields, "", seal);
  return seal;
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  const uint8_t how = input.Byte();
  std::string blob(input.Byte() % 64, 'p');
  std::string fields(input.Rest());
  if ((how & 8) != 0) fields += SealOf(fields);
  constexpr absl::string_view kMagics[] = {"BKPBLOB1", "BKPPACK1", "BKPPACK2", "BKPSNAP1"};
  if ((how & 4) != 0) content::AppendTrailer(kMagics[how % 4], fields);
  blob += fields;
  TryBlobFooter(blob);
  TryPackFooter(blob);
  TrySnapshotFooter(blob);
}

}  // namespace backup::fuzz
