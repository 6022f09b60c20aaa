// The ciphertext of clients, in each of their formats: the same plaintext, or a refusal, whatever
// the pieces in which it comes; and no more plaintext than ciphertext. Stored ones, with whatever
// their footer says: the plaintext, or damage.

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/piece_buffers.h"
#include "base/testing/random_cut_source.h"
#include "content/blob_footer.h"
#include "content/decoding.h"
#include "content/stored_content.h"
#include "crypto/cipher.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using crypto::CbcFormat;
using storage::StorageForm;
using testing::RandomCutSource;

constexpr size_t kMaxContent = size_t{1} << 20;

const std::string& Key() {
  static const std::string& key = *new std::string(32, 'k');
  return key;
}

content::Encoding TakeEncoding(Input& input) {
  content::Encoding encoding;
  if (input.Byte() % 8 == 0) return encoding;
  CbcFormat& format = encoding.cbc.emplace();
  format.cut = static_cast<CbcFormat::Cut>(1 + input.Below(3));
  format.initial_vector = static_cast<CbcFormat::InitialVector>(input.Below(2));
  format.padding = static_cast<CbcFormat::Padding>(input.Below(3));
  if (format.cut == CbcFormat::Cut::kEqualSegments)
    format.segment_size = static_cast<int64_t>((1 + input.Below(8)) * crypto::kCipherBlockSize);
  encoding.segment_count = static_cast<int>(input.Below(4));
  if (format.padding != CbcFormat::Padding::kPkcs7 && input.Flag())
    encoding.plain_size = static_cast<int64_t>(input.Uint(2));
  return encoding;
}

absl::StatusOr<std::string> Decoded(const content::Encoding& encoding, ByteSource& source,
                                    std::string* observed) {
  PieceBudget budget;
  const auto decoding =
      content::Decode(encoding, Key(), {}, source, budget, [&](absl::string_view part) {
        CHECK_LE(part.size(), kHotSize);
        if (observed != nullptr) *observed += std::string(part);
      });
  return ReadAll(*decoding.source, kMaxContent);
}

void TryContent(Input& input) {
  content::Encoding encoding = TakeEncoding(input);
  const uint32_t seed = input.Byte();
  const size_t max_piece = 1 + input.Uint(input.Flag() ? 2 : 1);
  std::string bytes(input.Rest());
  // Whole blocks, else most of them are refused for their size alone.
  if (encoding.cbc && encoding.cbc->cut != CbcFormat::Cut::kSizedSegments && seed % 4 != 0)
    bytes.resize(bytes.size() / crypto::kCipherBlockSize * crypto::kCipherBlockSize);
  encoding.size_bytes = encoding.max_size_bytes = std::ssize(bytes);
  StringSource whole(bytes);
  RandomCutSource cut(bytes, max_piece, seed);
  std::string observed;
  const auto expected = Decoded(encoding, whole, nullptr);
  const auto got = Decoded(encoding, cut, &observed);
  // Of several things that are wrong, which one is told may depend on the cuts where the size of
  // the plaintext is known: it is compared with what a whole piece has become.
  CHECK_EQ(expected.ok(), got.ok()) << expected.status() << ", " << got.status();
  CHECK(encoding.plain_size || expected.status() == got.status())
      << expected.status() << ", " << got.status();
  if (!got.ok()) {
    const std::optional<Reason> reason = ReasonOf(got.status());
    CHECK(reason == Reason::kContentRejected || reason == Reason::kInvalidField) << got.status();
    return;
  }
  CHECK(*got == *expected && observed == *got);
  CHECK_LE(got->size(), bytes.size());
}

// A footer that fits `payload_size` bytes, and else says anything.
content::BlobFooter TakeFooter(Input& input, int64_t payload_size) {
  content::BlobFooter footer;
  footer.file_name = "name";
  footer.size_bytes = static_cast<int64_t>(input.Uint(input.Flag() ? 8 : 2) >> 1);
  footer.payload_size = footer.encoded_size = payload_size;
  footer.sha256 = input.Exactly(32);
  footer.form = static_cast<StorageForm>(1 + input.Below(5));
  if (footer.form == StorageForm::kClientSegments) footer.cbc.cut = CbcFormat::Cut::kSizedSegments;
  if (footer.form == StorageForm::kClientFormat)
    footer.cbc = TakeEncoding(input).cbc.value_or(CbcFormat());
  return footer;
}

void TryStored(Input& input) {
  static const crypto::KeyRing& ring = *new crypto::KeyRing(SecretBytes(std::string(32, 'm')));
  const std::string payload(input.Text(4000));
  content::BlobFooter footer = TakeFooter(input, std::ssize(payload));
  const bool has_key = footer.form != StorageForm::kPlain;
  if (has_key) footer.wrapped_key = ring.Seal(Key(), content::EncodeFooterFields(footer));
  const storage::Version version = content::VersionOf(footer);
  auto opened = content::StoredContent::Open(
      std::make_unique<StringAccess>(payload + content::EncodeFooter(footer)), ring, version);
  CHECK(opened.ok()) << opened.status();
  const uint64_t size = static_cast<uint64_t>(version.size_bytes);
  const uint64_t offset = input.Uint(2) % (size + 1);
  const uint64_t wanted = input.Uint(2) % (size - offset + 1);
  PieceBudget budget;
  const auto range =
      (*opened)->Read(budget, static_cast<int64_t>(offset), static_cast<int64_t>(wanted),
                      input.Flag() ? content::Verification::kOn : content::Verification::kOff);
  CHECK(range.ok()) << range.status();
  const auto got = ReadAll(**range, kMaxContent);
  if (got.ok()) CHECK_EQ(got->size(), wanted);
  if (!got.ok())
    CHECK(ReasonOf(got.status()) == Reason::kBlobDamaged || absl::IsDataLoss(got.status()))
        << got.status();
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  return input.Flag() ? TryStored(input) : TryContent(input);
}

}  // namespace backup::fuzz
