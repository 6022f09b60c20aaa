// What is sealed comes back as it was, whatever the cuts, or not at all: not if a byte of it was
// changed, dropped or added, nor at another place, nor under another key. And compressed bytes
// decompress to the size that they are to have, or not at all.

#include <algorithm>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/error.h"
#include "base/piece_buffers.h"
#include "base/testing/random_cut_source.h"
#include "content/chunk_decoding.h"
#include "content/chunk_seal.h"
#include "content/chunker.h"
#include "content/compression.h"
#include "content/snapshot_file.h"
#include "crypto/master_key.h"
#include "crypto/sealed_file.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using testing::RandomCutSource;

const std::string& Key() {
  static const std::string& key = *new std::string(32, 'k');
  return key;
}

std::string All(ByteSource& source) {
  auto all = ReadAll(source, size_t{4} << 20);
  CHECK(all.ok()) << all.status();
  return *std::move(all);
}

// Contents at both sides of the edges of segments, repeated from a few bytes.
std::string Plaintext(Input& input) {
  constexpr size_t kSegment = static_cast<size_t>(crypto::kSegmentSize);
  constexpr size_t kBases[] = {0, kSegment - 128, 2 * kSegment - 128, 17 * kSegment - 128};
  const uint8_t base = input.Byte();
  const size_t size = (base >= 252 ? kBases[base % 4] : 0) + input.Byte();
  const std::string pattern(input.Text(300));
  std::string plain;
  while (plain.size() < size) plain += pattern.empty() ? "z" : pattern;
  plain.resize(size);
  return plain;
}

// Of the largest piece that a plaintext is cut into: there are never very many.
size_t TakePieceSize(Input& input, absl::string_view plain) {
  return 1 + input.Uint(2) + plain.size() / 1000;
}

// Changes `sealed`, or not.
std::string Damaged(Input& input, std::string sealed) {
  const size_t at = input.Uint(3) % (sealed.size() + 1);
  switch (input.Below(5)) {
    case 0:
      return sealed;
    case 1:
      if (at < sealed.size()) sealed[at] = static_cast<char>(sealed[at] ^ (1 << input.Below(8)));
      return sealed;
    case 2:
      sealed.resize(at);
      return sealed;
    case 3:
      sealed.insert(at, std::string(input.Text(64)));
      return sealed;
    default:
      return sealed.erase(at, 1 + input.Below(100));
  }
}

void TryFile(Input& input) {
  const std::string plain = Plaintext(input);
  const size_t max_piece = TakePieceSize(input, plain);
  RandomCutSource cut(plain, max_piece, input.Byte());
  crypto::SealSource seal(cut, Key());
  const std::string sealed = All(seal);
  CHECK_EQ(std::ssize(sealed), crypto::SealedSize(std::ssize(plain)));
  const std::string damaged = Damaged(input, sealed);
  const int64_t offset = static_cast<int64_t>(input.Uint(3) % (plain.size() + 1));
  const int64_t size =
      static_cast<int64_t>(input.Uint(3) % (plain.size() + 1 - static_cast<size_t>(offset)));
  const StringAccess access(damaged);
  PieceBudget budget;
  crypto::UnsealSource unsealed(access, budget, Key(), std::ssize(plain), offset, size);
  const auto got = ReadAll(unsealed, size_t{2} << 20);
  CHECK(got.ok() || damaged != sealed);
  if (got.ok()) CHECK(*got == plain.substr(static_cast<size_t>(offset), static_cast<size_t>(size)));
}

void TryChunk(Input& input) {
  const std::string plain = Plaintext(input);
  const ChunkId id = *ChunkId::FromBytes(std::string(ChunkId::kSize, 'i'));
  const BlobId pack = *BlobId::FromBytes(std::string(BlobId::kSize, 'b'));
  const int index = static_cast<int>(input.Uint(2));
  content::ChunkSealer sealer(Key(), pack);
  sealer.Begin(index);
  std::string sealed;
  const size_t max_piece = TakePieceSize(input, plain);
  RandomCutSource cut(plain, max_piece, input.Byte());
  for (auto piece = cut.Read(); !piece->empty(); piece = cut.Read()) sealer.Update(*piece, sealed);
  sealer.Finish(id, sealed);
  CHECK_EQ(std::ssize(sealed), content::SealedChunkSize(std::ssize(plain)));
  const std::string damaged = Damaged(input, sealed);
  const content::ChunkPlace place{pack, index};
  const auto got = content::UnsealChunk(Key(), place, id, damaged);
  CHECK_EQ(got.ok(), damaged == sealed);
  if (got.ok()) CHECK(*got == plain);
  CHECK(!content::UnsealChunk(Key(), {pack, index + 1}, id, sealed).ok());
  CHECK(!content::UnsealChunk(std::string(32, 'x'), place, id, sealed).ok());
  CHECK(!content::UnsealChunk(Key(), place, ChunkId(), sealed).ok());
}

void TryInline(Input& input) {
  const std::string plain = Plaintext(input);
  const ChunkId id = *ChunkId::FromBytes(std::string(ChunkId::kSize, 'i'));
  const std::string sealed = content::SealInline(Key(), id, plain);
  const std::string damaged = Damaged(input, sealed);
  const auto got = content::UnsealInline(Key(), id, damaged);
  CHECK_EQ(got.ok(), damaged == sealed);
  if (got.ok()) CHECK(*got == plain);
  CHECK(!content::UnsealInline(Key(), ChunkId(), sealed).ok());
}

// A chunk as a pack or the catalog may hold it, with any coding and any size.
void TryStored(Input& input) {
  storage::StoredChunk chunk;
  chunk.coding = static_cast<storage::ChunkCoding>(1 + input.Below(2));
  chunk.form = input.Flag() ? storage::StorageForm::kSealed : storage::StorageForm::kPlain;
  chunk.pack = 1;
  chunk.ref.size_bytes = static_cast<int64_t>(input.Uint(input.Flag() ? 8 : 2));
  std::string stored(input.Rest());
  if (chunk.form == storage::StorageForm::kSealed) {
    content::ChunkSealer sealer(Key(), chunk.pack_blob);
    std::string sealed;
    sealer.Begin(chunk.index);
    sealer.Update(stored, sealed);
    sealer.Finish(chunk.ref.id, sealed);
    stored = sealed;
  }
  std::string scratch;
  const auto got = content::OpenChunk(chunk, stored, Key(), nullptr, scratch);
  if (!got.ok()) {
    CHECK(ReasonOf(got.status()) == Reason::kBlobDamaged);
    return;
  }
  CHECK_EQ(std::ssize(*got), chunk.ref.size_bytes);
  CHECK_LE(got->size(), content::kMaxChunkSize);
}

void TryCompression(Input& input) {
  const std::string plain = Plaintext(input);
  const absl::string_view whole = plain;
  const size_t middle = plain.size() / 2;
  const absl::string_view parts[] = {whole.substr(0, middle), whole.substr(middle)};
  (void)content::MayShrink(parts);
  const auto frame = content::Compress(parts, 1 + static_cast<int>(input.Below(3)));
  if (!frame) return;
  CHECK_LT(frame->size(), plain.size());
  const std::string damaged = Damaged(input, *frame);
  const auto got = content::Decompress(damaged, std::ssize(plain));
  CHECK(got.ok() || damaged != *frame);
  if (got.ok()) CHECK(got->size() == plain.size() && (damaged != *frame || *got == plain));
  CHECK(!content::Decompress(*frame, std::ssize(plain) + 1).ok());
}

void TrySnapshot(Input& input) {
  const std::string plain = Plaintext(input);
  static const crypto::MasterKey& master_key = *new crypto::MasterKey(Key());
  const size_t max_piece = TakePieceSize(input, plain);
  RandomCutSource cut(plain, max_piece, input.Byte());
  content::SnapshotSource source(cut, absl::FromUnixSeconds(1'764'446'400), 7, master_key);
  const std::string file = All(source);
  const std::string damaged = Damaged(input, file);
  StringSink sink;
  const absl::Status read = content::ReadSnapshot(StringAccess(damaged), master_key, sink);
  CHECK_EQ(read.ok(), damaged == file) << read;
  if (read.ok()) CHECK(sink.bytes() == plain);
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  switch (input.Below(6)) {
    case 0:
      return TryFile(input);
    case 1:
      return TryChunk(input);
    case 2:
      return TryInline(input);
    case 3:
      return TryStored(input);
    case 4:
      return TryCompression(input);
    default:
      return TrySnapshot(input);
  }
}

}  // namespace backup::fuzz
