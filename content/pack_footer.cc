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

constexpr absl::string_view kMagic = "BKPPACK1";
constexpr size_t kContentIdSize = 16;
constexpr size_t kSha256Size = 32;
constexpr size_t kChunkFieldsSize = ChunkId::kSize + 4 + 4 + 4 + 4 + 1 + 1;
constexpr size_t kStepFieldsSize = ChunkId::kSize + 4;
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

void AppendRecipe(const PackFooter::Recipe& recipe, std::string& out) {
  AppendBytes(recipe.content_id.empty() ? kNoContentId : recipe.content_id, out);
  AppendUint(static_cast<uint64_t>(recipe.first_step), 8, out);
  AppendUint(recipe.steps.size(), 4, out);
  for (const ChunkRef& step : recipe.steps) {
    AppendBytes(step.id.bytes(), out);
    AppendUint(static_cast<uint64_t>(step.size_bytes), 4, out);
  }
}

bool ReadRecipe(FieldReader& reader, PackFooter::Recipe& recipe) {
  recipe.content_id = std::string(reader.Bytes(kContentIdSize));
  if (recipe.content_id == kNoContentId) recipe.content_id.clear();
  recipe.first_step = static_cast<int64_t>(reader.Uint(8));
  const uint64_t count = reader.Uint(4);
  if (!CanHave(reader, count, kMaxFooterSteps, kStepFieldsSize)) return false;
  recipe.steps.resize(count);
  for (ChunkRef& step : recipe.steps) {
    step.id = ChunkId::FromBytes(reader.Bytes(ChunkId::kSize)).value_or(ChunkId());
    step.size_bytes = static_cast<int64_t>(reader.Uint(4));
  }
  return reader.ok();
}

bool IsPossible(const PackFooter::Recipe& recipe) {
  if (recipe.steps.size() > kMaxFooterSteps || recipe.first_step < 0) return false;
  if (recipe.content_id.empty()) return recipe.first_step == 0 && recipe.steps.empty();
  for (const ChunkRef& step : recipe.steps)
    if (!IsChunkSize(step.size_bytes)) return false;
  return recipe.content_id.size() == kContentIdSize;
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

// All but where the footer itself begins.
bool IsPossible(const PackFooter& footer, int64_t payload_size) {
  const bool sealed = footer.form == StorageForm::kSealed;
  return (sealed || footer.form == StorageForm::kPlain) && footer.chunks.size() <= kMaxPackChunks &&
         ArePossible(footer.chunks, footer.form, payload_size) && IsPossible(footer.recipe) &&
         (!footer.version || IsPossible(*footer.version)) &&
         footer.sealed_secret.size() <= kMaxWrappedKeySize &&
         footer.wrapped_key.size() <= kMaxWrappedKeySize && sealed != footer.wrapped_key.empty();
}

// What is sealed.
std::string EncodeFields(const PackFooter& footer) {
  std::string out(footer.pack_id.bytes());
  AppendUint(static_cast<uint64_t>(footer.form), 1, out);
  AppendChunks(footer.chunks, out);
  AppendRecipe(footer.recipe, out);
  AppendVersion(footer.version, out);
  AppendSized(footer.sealed_secret, out);
  AppendSized(footer.wrapped_key, out);
  return out;
}

bool DecodeFields(FieldReader& reader, PackFooter& footer) {
  footer.pack_id = BlobId::FromBytes(reader.Bytes(BlobId::kSize)).value_or(BlobId());
  footer.form = static_cast<StorageForm>(reader.Uint(1));
  if (!ReadChunks(reader, footer.chunks) || !ReadRecipe(reader, footer.recipe) ||
      !ReadVersion(reader, footer.form, footer.version)) {
    return false;
  }
  footer.sealed_secret = reader.Sized();
  footer.wrapped_key = reader.Sized();
  if (footer.form == StorageForm::kSealed)
    footer.seal = std::string(reader.Bytes(crypto::Aead::kTagSize));
  return reader.ok() && reader.AtEnd();
}

}  // namespace

std::string EncodePackFooter(const PackFooter& footer, absl::string_view pack_key) {
  CHECK(IsPossible(footer, kMaxPackSize));
  std::string out = EncodeFields(footer);
  if (footer.form == StorageForm::kSealed) {
    const std::string fields = out;
    crypto::Aead(pack_key).Seal(kSealNonce, fields, "", out);
  }
  AppendTrailer(kMagic, out);
  CHECK_LE(static_cast<int64_t>(out.size()), kMaxPackFooterSize);
  return out;
}

absl::StatusOr<PackFooter> ReadPackFooter(const RandomAccess& pack) {
  if (pack.size_bytes() > kMaxPackSize) return DamagedBlob("it is too large for a pack");
  ASSIGN_OR_RETURN(const std::string fields,
                   ReadFooterFields(pack, kMagic, static_cast<size_t>(kMaxPackFooterSize)));
  FieldReader reader(fields);
  PackFooter footer;
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
  std::string magic(kMagic.size(), '\0');
  const int64_t begin = blob.size_bytes() - static_cast<int64_t>(magic.size());
  if (begin < 0) return false;
  RETURN_IF_ERROR(blob.ReadAt(begin, {magic.data(), magic.size()}));
  return magic == kMagic;
}

}  // namespace backup::content
