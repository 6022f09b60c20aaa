#include "content/pack_footer.h"

#include <array>
#include <limits>
#include <utility>

#include "base/name_text.h"
#include "base/status_macros.h"
#include "content/blob_footer.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "content/footer_fields.h"
#include "crypto/aead.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

using storage::ChecksumKind;
using storage::ChunkCoding;
using storage::ChunkRef;
using storage::PackedChunk;
using storage::StorageForm;
using storage::Version;

constexpr absl::string_view kMagicOfOnePart = "BKPPACK1";
constexpr absl::string_view kMagicOfParts = "BKPPACK2";
constexpr size_t kContentIdSize = 16;
constexpr size_t kSha256Size = 32;
constexpr size_t kChunkFieldsSize = ChunkId::kSize + 4 + 4 + 4 + 4 + 1 + 1;
constexpr size_t kStepFieldsSize = ChunkId::kSize + 4;
// Without the name.
constexpr size_t kVersionFieldsSize = ClientId::kSize + 8 + 8 + 8 + 1 + 4 + kSha256Size + 8 + 2;
// Of a part without steps and without a version.
constexpr size_t kPartFieldsSize = kContentIdSize + 8 + 4 + 1;
constexpr std::array<char, kContentIdSize> kZeros = {};
constexpr absl::string_view kNoContentId(kZeros.data(), kZeros.size());

// The last three bytes of a segment's nonce are zero.
constexpr crypto::Aead::Nonce kSealNonce = {'\xFF', '\xFF', '\xFF', '\xFF', '\xFF', '\xFF',
                                            '\xFF', '\xFF', '\xFF', '\xFF', '\xFF', '\xFF'};

void AppendChunks(const std::vector<PackedChunk>& chunks, std::string& out) {
  AppendUint(chunks.size(), 4, out);
  for (const PackedChunk& chunk : chunks) {
    AppendBytes(chunk.id.bytes(), out);
    AppendUint(static_cast<uint64_t>(chunk.size_bytes), 4, out);
    AppendUint(static_cast<uint64_t>(chunk.offset), 4, out);
    AppendUint(static_cast<uint64_t>(chunk.stored_size), 4, out);
    AppendUint(static_cast<uint64_t>(chunk.index), 4, out);
    AppendUint(static_cast<uint64_t>(chunk.coding), 1, out);
    AppendUint(chunk.waits ? 1 : 0, 1, out);
  }
}

// Whether there can be so many, before room is made for them.
bool CanHave(const FieldReader& reader, uint64_t count, size_t most, size_t size) {
  return count <= most && count * size <= reader.left();
}

bool ReadChunks(FieldReader& reader, std::vector<PackedChunk>& chunks) {
  const uint64_t count = reader.Uint(4);
  if (!CanHave(reader, count, kMaxPackChunks, kChunkFieldsSize)) return false;
  chunks.resize(count);
  for (PackedChunk& chunk : chunks) {
    chunk.id = ChunkId::FromBytes(reader.Bytes(ChunkId::kSize)).value_or(ChunkId());
    chunk.size_bytes = static_cast<int64_t>(reader.Uint(4));
    chunk.offset = static_cast<int64_t>(reader.Uint(4));
    chunk.stored_size = static_cast<int64_t>(reader.Uint(4));
    const uint64_t index = reader.Uint(4);
    if (index > std::numeric_limits<int>::max()) return false;
    chunk.index = static_cast<int>(index);
    chunk.coding = static_cast<ChunkCoding>(reader.Uint(1));
    const uint64_t waits = reader.Uint(1);
    if (waits > 1) return false;
    chunk.waits = waits == 1;
  }
  return reader.ok();
}

bool IsChunkSize(int64_t size_bytes) {
  return size_bytes > 0 && size_bytes <= static_cast<int64_t>(kMaxChunkSize);
}

bool HasPossibleSizes(const PackedChunk& chunk, StorageForm form) {
  if (!IsChunkSize(chunk.size_bytes)) return false;
  const auto kept = [&](int64_t size) {
    return form == StorageForm::kSealed ? SealedChunkSize(size) : size;
  };
  switch (chunk.coding) {
    case ChunkCoding::kRaw:
      return chunk.stored_size == kept(chunk.size_bytes);
    case ChunkCoding::kZstd:
      return !chunk.waits && chunk.stored_size >= kept(1) &&
             chunk.stored_size < kept(chunk.size_bytes);
  }
  return false;
}

// In order, each behind the one before and all before the footer.
bool ArePossible(const std::vector<PackedChunk>& chunks, StorageForm form, int64_t payload_size) {
  int64_t end = 0;
  int last_index = -1;
  for (const PackedChunk& chunk : chunks) {
    if (!HasPossibleSizes(chunk, form) || chunk.index <= last_index || chunk.offset < end)
      return false;
    last_index = chunk.index;
    end = chunk.offset + chunk.stored_size;
  }
  return end <= payload_size;
}

void AppendVersion(const std::optional<Version>& version, std::string& out) {
  AppendUint(version ? 1 : 0, 1, out);
  if (!version) return;
  AppendBytes(version->client_id.bytes(), out);
  AppendUint(static_cast<uint64_t>(version->version_id), 8, out);
  AppendUint(static_cast<uint64_t>(version->size_bytes), 8, out);
  AppendUint(static_cast<uint64_t>(version->encoded_size), 8, out);
  AppendUint(static_cast<uint64_t>(version->checksum_kind), 1, out);
  AppendUint(version->checksum, 4, out);
  out += version->sha256;
  AppendUint(static_cast<uint64_t>(absl::ToUnixMicros(version->receive_time)), 8, out);
  AppendSized(version->file_name, out);
}

bool ReadVersion(FieldReader& reader, StorageForm form, std::optional<Version>& version) {
  const uint64_t present = reader.Uint(1);
  if (present == 0) return reader.ok();
  if (present != 1) return false;
  version.emplace();
  version->form = form;
  version->client_id = ClientId::FromBytes(reader.Bytes(ClientId::kSize)).value_or(ClientId());
  version->version_id = static_cast<int64_t>(reader.Uint(8));
  version->size_bytes = static_cast<int64_t>(reader.Uint(8));
  version->encoded_size = static_cast<int64_t>(reader.Uint(8));
  version->checksum_kind = static_cast<ChecksumKind>(reader.Uint(1));
  version->checksum = static_cast<uint32_t>(reader.Uint(4));
  version->sha256 = std::string(reader.Bytes(kSha256Size));
  version->receive_time = absl::FromUnixMicros(static_cast<int64_t>(reader.Uint(8)));
  version->file_name = reader.Sized();
  return reader.ok();
}

bool IsPossible(const Version& version) {
  return version.size_bytes >= 0 && version.encoded_size >= 0 &&
         version.checksum_kind >= ChecksumKind::kCksumOfPlaintext &&
         version.checksum_kind <= ChecksumKind::kCrc32OfPlaintext &&
         version.sha256.size() == kSha256Size && !version.file_name.empty() &&
         version.file_name.size() <= kMaxNameSize;
}

void AppendPart(const PackFooter::Part& part, std::string& out) {
  AppendBytes(part.content_id, out);
  AppendUint(static_cast<uint64_t>(part.first_step), 8, out);
  AppendUint(part.steps.size(), 4, out);
  for (const ChunkRef& step : part.steps) {
    AppendBytes(step.id.bytes(), out);
    AppendUint(static_cast<uint64_t>(step.size_bytes), 4, out);
  }
  AppendVersion(part.version, out);
}

bool ReadPart(FieldReader& reader, StorageForm form, PackFooter::Part& part) {
  part.content_id = std::string(reader.Bytes(kContentIdSize));
  part.first_step = static_cast<int64_t>(reader.Uint(8));
  const uint64_t count = reader.Uint(4);
  if (!CanHave(reader, count, kMaxFooterSteps, kStepFieldsSize)) return false;
  part.steps.resize(count);
  for (ChunkRef& step : part.steps) {
    step.id = ChunkId::FromBytes(reader.Bytes(ChunkId::kSize)).value_or(ChunkId());
    step.size_bytes = static_cast<int64_t>(reader.Uint(4));
  }
  return ReadVersion(reader, form, part.version);
}

// There was always a part; one without a content id is none.
void AppendOnePart(const std::vector<PackFooter::Part>& parts, std::string& out) {
  if (!parts.empty()) return AppendPart(parts.front(), out);
  PackFooter::Part none;
  none.content_id = std::string(kNoContentId);
  AppendPart(none, out);
}

bool ReadOnePart(FieldReader& reader, StorageForm form, std::vector<PackFooter::Part>& parts) {
  PackFooter::Part part;
  if (!ReadPart(reader, form, part)) return false;
  if (part.content_id == kNoContentId)
    return part.first_step == 0 && part.steps.empty() && !part.version;
  parts.push_back(std::move(part));
  return true;
}

void AppendParts(const std::vector<PackFooter::Part>& parts, std::string& out) {
  AppendUint(parts.size(), 4, out);
  for (const PackFooter::Part& part : parts) AppendPart(part, out);
}

bool ReadParts(FieldReader& reader, StorageForm form, std::vector<PackFooter::Part>& parts) {
  const uint64_t count = reader.Uint(4);
  if (!CanHave(reader, count, kMaxFooterParts, kPartFieldsSize)) return false;
  parts.resize(count);
  for (PackFooter::Part& part : parts)
    if (!ReadPart(reader, form, part)) return false;
  return true;
}

bool IsPossible(const PackFooter::Part& part) {
  for (const ChunkRef& step : part.steps)
    if (!IsChunkSize(step.size_bytes)) return false;
  return part.content_id.size() == kContentIdSize && part.content_id != kNoContentId &&
         part.first_step >= 0 && (!part.version || IsPossible(*part.version));
}

bool ArePossible(const std::vector<PackFooter::Part>& parts, PackFooter::Format format) {
  size_t steps = 0;
  for (const PackFooter::Part& part : parts) {
    steps += part.steps.size();
    if (!IsPossible(part)) return false;
  }
  const size_t most = format == PackFooter::Format::kOnePart ? 1 : kMaxFooterParts;
  return parts.size() <= most && steps <= kMaxFooterSteps;
}

// All but where the footer itself begins.
bool IsPossible(const PackFooter& footer, int64_t payload_size) {
  const bool sealed = footer.form == StorageForm::kSealed;
  return (sealed || footer.form == StorageForm::kPlain) && footer.chunks.size() <= kMaxPackChunks &&
         ArePossible(footer.chunks, footer.form, payload_size) &&
         ArePossible(footer.parts, footer.format) &&
         footer.sealed_secret.size() <= kMaxWrappedKeySize &&
         footer.wrapped_key.size() <= kMaxWrappedKeySize && sealed != footer.wrapped_key.empty();
}

// What is sealed.
std::string EncodeFields(const PackFooter& footer) {
  std::string out(footer.pack_id.bytes());
  AppendUint(static_cast<uint64_t>(footer.form), 1, out);
  AppendChunks(footer.chunks, out);
  footer.format == PackFooter::Format::kOnePart ? AppendOnePart(footer.parts, out)
                                                : AppendParts(footer.parts, out);
  AppendSized(footer.sealed_secret, out);
  AppendSized(footer.wrapped_key, out);
  return out;
}

bool DecodeFields(FieldReader& reader, PackFooter& footer) {
  footer.pack_id = BlobId::FromBytes(reader.Bytes(BlobId::kSize)).value_or(BlobId());
  footer.form = static_cast<StorageForm>(reader.Uint(1));
  if (!ReadChunks(reader, footer.chunks)) return false;
  const auto read = footer.format == PackFooter::Format::kOnePart ? ReadOnePart : ReadParts;
  if (!read(reader, footer.form, footer.parts)) return false;
  footer.sealed_secret = reader.Sized();
  footer.wrapped_key = reader.Sized();
  if (footer.form == StorageForm::kSealed)
    footer.seal = std::string(reader.Bytes(crypto::Aead::kTagSize));
  return reader.ok() && reader.AtEnd();
}

absl::string_view MagicOf(PackFooter::Format format) {
  return format == PackFooter::Format::kOnePart ? kMagicOfOnePart : kMagicOfParts;
}

// As its last bytes say; none if it is no pack.
absl::StatusOr<std::optional<PackFooter::Format>> FormatOf(const RandomAccess& blob) {
  std::string magic(kFooterMagicSize, '\0');
  const int64_t begin = blob.size_bytes() - static_cast<int64_t>(magic.size());
  if (begin < 0) return std::nullopt;
  RETURN_IF_ERROR(blob.ReadAt(begin, {magic.data(), magic.size()}));
  for (const auto format : {PackFooter::Format::kOnePart, PackFooter::Format::kParts})
    if (magic == MagicOf(format)) return format;
  return std::nullopt;
}

}  // namespace

std::string EncodePackFooter(const PackFooter& footer, absl::string_view pack_key) {
  CHECK(IsPossible(footer, kMaxPackSize));
  std::string out = EncodeFields(footer);
  if (footer.form == StorageForm::kSealed) {
    const std::string fields = out;
    crypto::Aead(pack_key).Seal(kSealNonce, fields, "", out);
  }
  AppendTrailer(MagicOf(footer.format), out);
  CHECK_LE(static_cast<int64_t>(out.size()), kMaxPackFooterSize);
  return out;
}

int64_t EncodedSize(const PackFooter::Part& part) {
  const size_t version = part.version ? kVersionFieldsSize + part.version->file_name.size() : 0;
  return static_cast<int64_t>(kPartFieldsSize + part.steps.size() * kStepFieldsSize + version);
}

absl::StatusOr<PackFooter> ReadPackFooter(const RandomAccess& pack) {
  if (pack.size_bytes() > kMaxPackSize) return DamagedBlob("it is too large for a pack");
  ASSIGN_OR_RETURN(const std::optional<PackFooter::Format> format, FormatOf(pack));
  if (!format) return DamagedBlob("its end is missing");
  ASSIGN_OR_RETURN(
      const std::string fields,
      ReadFooterFields(pack, MagicOf(*format), static_cast<size_t>(kMaxPackFooterSize)));
  FieldReader reader(fields);
  PackFooter footer;
  footer.format = *format;
  const int64_t payload_size =
      pack.size_bytes() - static_cast<int64_t>(fields.size() + kFooterTrailerSize);
  if (!DecodeFields(reader, footer) || !IsPossible(footer, payload_size))
    return DamagedBlob("its footer makes no sense");
  return footer;
}

absl::Status CheckPackSeal(const PackFooter& footer, absl::string_view pack_key) {
  if (footer.form != StorageForm::kSealed) return absl::OkStatus();
  char nothing = 0;
  if (pack_key.size() != kPackKeySize || footer.seal.size() != crypto::Aead::kTagSize ||
      !crypto::Aead(pack_key).Open(kSealNonce, EncodeFields(footer), footer.seal, &nothing)) {
    return DamagedBlob("its footer was changed, or made without its key");
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> IsPack(const RandomAccess& blob) {
  ASSIGN_OR_RETURN(const std::optional<PackFooter::Format> format, FormatOf(blob));
  return format.has_value();
}

}  // namespace backup::content
