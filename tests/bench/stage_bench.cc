// stage-bench: each stage that content passes, alone and on one core, by Google Benchmark.

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "base/aligned_buffer.h"
#include "base/byte_stream.h"
#include "base/checksum.h"
#include "base/direct_file.h"
#include "base/io_queue.h"
#include "base/piece_buffers.h"
#include "base/read_ahead_source.h"
#include "benchmark/benchmark.h"
#include "content/chunk_cuts.h"
#include "crypto/cipher.h"
#include "crypto/hmac_sha256.h"
#include "crypto/public_key.h"
#include "crypto/sealed_file.h"
#include "crypto/segments.h"
#include "crypto/sha256.h"
#include "glog/logging.h"
#include "legacy_client/cipher.h"
#include "legacy_client/key_pair.h"
#include "rpc/chunk_framing.h"

namespace backup::bench {
namespace {

using ::benchmark::DoNotOptimize;
using ::benchmark::State;

constexpr int64_t kContentSize = int64_t{64} << 20;
constexpr char kAesKey[] = "0123456789abcdef";
constexpr int64_t kEndless = int64_t{1} << 60;
const std::string& FileKey() {
  static const std::string& key = *new std::string(crypto::kFileKeySize, 'k');
  return key;
}

// The same piece until there are `size_bytes`.
class RepeatedSource final : public ByteSource {
 public:
  explicit RepeatedSource(int64_t size_bytes) : left_(size_bytes) {}
  absl::StatusOr<absl::string_view> Read() override {
    static const std::string& piece = *new std::string(kPieceSize, 'x');
    if (left_ <= 0) return absl::string_view();
    left_ -= std::ssize(piece);
    return absl::string_view(piece);
  }

 private:
  int64_t left_;
};

void ReadToEnd(ByteSource& source) {
  while (true) {
    const absl::StatusOr<absl::string_view> piece = source.Read();
    CHECK(piece.ok()) << piece.status();
    if (piece->empty()) return;
    const char* data = piece->data();
    DoNotOptimize(data);
  }
}

void CountContent(State& state) { state.SetBytesProcessed(state.iterations() * kContentSize); }

template <typename Sum>
void SumPieces(State& state) {
  const std::string piece(kPieceSize, 'x');
  Sum sum;
  for (auto _ : state) {
    sum.Update(piece);
    ::benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(piece));
}
BENCHMARK(SumPieces<Cksum>)->Name("cksum");
BENCHMARK(SumPieces<Crc32>)->Name("crc32");
BENCHMARK(SumPieces<crypto::Sha256>)->Name("sha256");

std::string Noise() {
  std::mt19937_64 random(1);
  std::string bytes(kPieceSize, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

content::GearTable Gear() {
  std::mt19937_64 random(1);
  content::GearTable gear;
  for (uint64_t& number : gear) number = random();
  return gear;
}

// Parts as large as those that pass in an upload.
template <typename Work>
void PassParts(State& state, const Work& work) {
  const std::string bytes = Noise();
  for (auto _ : state) {
    for (size_t i = 0; i < bytes.size(); i += kHotSize)
      work(absl::string_view(bytes).substr(i, kHotSize));
  }
  state.SetBytesProcessed(state.iterations() * std::ssize(bytes));
}

void Sha256AndHmac(State& state) {
  crypto::Sha256 file;
  crypto::HmacSha256 chunk(FileKey());
  PassParts(state, [&](absl::string_view part) { chunk.UpdateWith(file, part); });
}
BENCHMARK(Sha256AndHmac)->Name("sha256 and a chunk's digest");

void FindChunks(State& state) {
  content::Chunker chunker(Gear());
  PassParts(state, [&](absl::string_view part) {
    while (!part.empty()) part.remove_prefix(chunker.Take(part));
  });
}
BENCHMARK(FindChunks)->Name("where chunks end");

void CutChunks(State& state) {
  const content::GearTable gear = Gear();
  content::PlaintextMeasures measures;
  content::ChunkCuts cuts(gear, {FileKey(), FileKey()}, measures);
  PassParts(state, [&](absl::string_view part) {
    cuts.Update(part);
    while (cuts.Next(measures.size_bytes)) continue;
  });
}
BENCHMARK(CutChunks)->Name("sha256, where chunks end, their digests");

void EncryptAsClient(State& state) {
  const std::string piece(kPieceSize, 'x');
  std::string out(kPieceSize + legacy_client::kCipherBlockSize, '\0');
  legacy_client::CbcEncryptor encryptor(absl::string_view(kAesKey, 16));
  for (auto _ : state) encryptor.Update(piece, out);
  state.SetBytesProcessed(state.iterations() * std::ssize(piece));
}
BENCHMARK(EncryptAsClient)->Name("client: AES-128-CBC encryption");

void DecryptPieces(State& state) {
  const std::string piece(kPieceSize, 'x');
  std::string out(kPieceSize + crypto::kCipherBlockSize, '\0');
  crypto::CbcDecryptor decryptor(absl::string_view(kAesKey, 16));
  for (auto _ : state) CHECK(decryptor.Update(piece, out.data()).ok());
  state.SetBytesProcessed(state.iterations() * std::ssize(piece));
}
BENCHMARK(DecryptPieces)->Name("AES-128-CBC decryption");

// As a client sends them that encrypts each 16 bytes on their own.
std::string TinySegments(const std::string& before_each) {
  legacy_client::CbcEncryptor encryptor(absl::string_view(kAesKey, 16));
  std::string segment(3 * legacy_client::kCipherBlockSize, '\0');
  const std::span<char> out(segment);
  const size_t size = encryptor.Update("0123456789abcdef", out);
  segment.resize(size + encryptor.Finish(out.subspan(size)));
  std::string segments;
  while (segments.size() < kPieceSize) segments += before_each + segment;
  return segments;
}

void DecryptAll(State& state, const std::string& segments, crypto::Decryptor& decryptor) {
  std::string out(segments.size() + crypto::kCipherBlockSize, '\0');
  for (auto _ : state) CHECK(decryptor.Update(segments, out.data()).ok());
  state.SetBytesProcessed(state.iterations() * std::ssize(segments));
}

void DecryptSizedSegments(State& state) {
  crypto::SegmentDecryptor decryptor(absl::string_view(kAesKey, 16), /*segment_count=*/0);
  DecryptAll(state, TinySegments(std::string("\x20\0\0\0", 4)), decryptor);
}
BENCHMARK(DecryptSizedSegments)->Name("the same, segments of 32 bytes with their sizes");

void DecryptEqualSegments(State& state) {
  const crypto::CbcFormat format{.cut = crypto::CbcFormat::Cut::kEqualSegments, .segment_size = 32};
  crypto::EqualSegmentDecryptor decryptor(absl::string_view(kAesKey, 16), format, kEndless);
  DecryptAll(state, TinySegments(""), decryptor);
}
BENCHMARK(DecryptEqualSegments)->Name("the same, segments of 32 bytes without");

void Seal(State& state) {
  for (auto _ : state) {
    RepeatedSource plain(kContentSize);
    crypto::SealSource sealed(plain, FileKey());
    ReadToEnd(sealed);
  }
  CountContent(state);
}
BENCHMARK(Seal)->Name("seal, AES-256-GCM");

void Unseal(State& state) {
  RepeatedSource plain(kContentSize);
  crypto::SealSource source(plain, FileKey());
  const StringAccess sealed(ReadAll(source, 2 * kContentSize).value());
  for (auto _ : state) {
    PieceBudget budget;
    crypto::UnsealSource unsealed(sealed, budget, FileKey(), kContentSize, 0, kContentSize);
    ReadToEnd(unsealed);
  }
  CountContent(state);
}
BENCHMARK(Unseal)->Name("unseal, AES-256-GCM");

void Gather(State& state) {
  for (auto _ : state) {
    RepeatedSource source(kContentSize);
    PieceBudget budget;
    GatherSource pieces(source, budget, kContentSize);
    ReadToEnd(pieces);
  }
  CountContent(state);
}
BENCHMARK(Gather)->Name("copy into aligned pieces");

// What a thread of its own costs that has next to nothing to do: measured by the clock.
void PassStage(State& state) {
  const StringAccess content(std::string(kContentSize, 'x'));
  for (auto _ : state) {
    PieceBudget budget;
    RangeSource range(content, budget, 0, kContentSize);
    ReadAheadSlots slots;
    const std::unique_ptr<ReadAheadSource> ahead = ReadAheadSource::TryMake(range, slots);
    ReadToEnd(*ahead);
  }
  CountContent(state);
}
BENCHMARK(PassStage)->Name("a copy and a stage")->UseRealTime();

void TakeChunkApart(State& state) {
  constexpr int kField = 2;
  const std::string bytes = rpc::ChunkPrefix(kField, kPieceSize) + std::string(kPieceSize, 'x');
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer message(&slice, 1);
  rpc::ChunkSlices slices(kField);
  for (auto _ : state) {
    CHECK(slices.Take(message));
    while (!slices.Next().empty()) continue;
  }
}
BENCHMARK(TakeChunkApart)->Name("take a message of 1 MiB apart");

// So many pieces are in flight at once.
void WriteFile(State& state, size_t depth) {
  constexpr int kPieces = kContentSize / kPieceSize;
  const AlignedBuffer piece = TakeAlignedBuffer(kPieceSize);
  const char* const folder = std::getenv("BENCH_DIR");
  const std::string path = std::string(folder != nullptr ? folder : "/var/tmp") + "/stage-bench";
  for (auto _ : state) {
    DirectFile file(FileSystem::Real().Create(path, O_DIRECT));
    PCHECK(file.Allocate(kContentSize));
    file.LetPiecesLast(depth - 1);
    for (int i = 0; i < kPieces; ++i) PCHECK(file.Write({piece.get(), kPieceSize}));
    PCHECK(file.Flush() && file.Sync());
    PCHECK(::unlink(path.c_str()) == 0);
  }
  CountContent(state);
}
BENCHMARK_CAPTURE(WriteFile, 1, 1)
    ->Name("write 64 MiB past the page cache, fsync, one piece at once")
    ->UseRealTime();
BENCHMARK_CAPTURE(WriteFile, 4, IoQueue::kMaxDepth)
    ->Name("write 64 MiB past the page cache, fsync, four pieces at once")
    ->UseRealTime();

void WrapSessionKey(State& state) {
  const auto pair = legacy_client::KeyPair::Generate();
  const std::string sent = pair.PublicDer(legacy_client::PublicKeyForm::kSpki);
  for (auto _ : state) CHECK(crypto::PublicKey::Parse(sent)->Encrypt(kAesKey).ok());
}
BENCHMARK(WrapSessionKey)->Name("parse a public key, wrap a session key, RSA-1024 OAEP");

}  // namespace
}  // namespace backup::bench

BENCHMARK_MAIN();
