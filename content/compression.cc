#include "content/compression.h"

#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "content/chunker.h"
#include "content/dictionary.h"
#include "glog/logging.h"

namespace backup::content {
namespace {

constexpr int kMinLevel = 1;
constexpr int kMaxLevel = 19;

// What MayShrink() looks at: that many places, equally far from each other.
constexpr size_t kSamples = 4;
constexpr size_t kSampleSize = 2048;

// What is compressed while its client waits.
constexpr size_t kSmallSize = size_t{64} << 10;

// The largest compressor that is kept for the next content: of levels up to 6.
constexpr size_t kMostKept = size_t{4} << 20;

// Of buffers for larger frames.
constexpr size_t kScratchStep = size_t{1} << 20;

// The largest size that is worth it.
size_t WorthSize(size_t size) { return size - std::max<size_t>(size / 16, 1); }

size_t TotalSize(std::span<const absl::string_view> parts) {
  size_t size = 0;
  for (const absl::string_view part : parts) size += part.size();
  return size;
}

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

template <typename Context>
using Owned = std::unique_ptr<Context, FreeContext>;
using Compressor = Owned<ZSTD_CCtx>;
using Decompressor = Owned<ZSTD_DCtx>;

// As many as can work at once on a usual machine.
constexpr unsigned kMaxContexts = 8;

// Contexts for small contents, whose clients wait: whoever needs one gets it at once. Of the
// hundreds of KiB that each takes only those of a few stay, whatever the number of threads.
// Thread-safe.
template <typename Context>
class IdleContexts {
 public:
  explicit IdleContexts(Context* (*make)()) : make_(make) {}
  Owned<Context> Take() {
    {
      const MutexLock lock(mutex_);
      if (!idle_.empty()) {
        Owned<Context> context = std::move(idle_.back());
        idle_.pop_back();
        return context;
      }
    }
    Owned<Context> context(make_());
    CHECK(context != nullptr);
    return context;
  }
  void Return(Owned<Context> context) {
    const MutexLock lock(mutex_);
    if (idle_.size() < most_idle_) idle_.push_back(std::move(context));
  }

 private:
  Context* (*const make_)();
  const size_t most_idle_ = std::clamp(std::thread::hardware_concurrency(), 1U, kMaxContexts);
  Mutex mutex_;
  std::vector<Owned<Context>> idle_ ABSL_GUARDED_BY(mutex_);
};

IdleContexts<ZSTD_CCtx>& SmallCompressors() {
  static auto* const contexts = new IdleContexts<ZSTD_CCtx>(&ZSTD_createCCtx);
  return *contexts;
}

IdleContexts<ZSTD_DCtx>& Decompressors() {
  static auto* const contexts = new IdleContexts<ZSTD_DCtx>(&ZSTD_createDCtx);
  return *contexts;
}

// Compressors for large contents, which take up to 50 MiB each at the highest level: no more of
// them than there are processors, and never more than a few, whatever the number of threads; none
// of that size is kept. A wait ends when another content is compressed. Thread-safe.
class CompressorPool {
 public:
  Compressor Take() {
    const MutexLock lock(mutex_);
    while (left_ == 0) returned_.Wait(mutex_);
    --left_;
    return idle_.Take();
  }
  void Return(Compressor compressor) {
    if (ZSTD_sizeof_CCtx(compressor.get()) <= kMostKept) idle_.Return(std::move(compressor));
    compressor.reset();
    const MutexLock lock(mutex_);
    ++left_;
    returned_.NotifyOne();
  }

 private:
  Mutex mutex_;
  CondVar returned_;
  unsigned left_ ABSL_GUARDED_BY(mutex_) = std::clamp(std::thread::hardware_concurrency(), 2U,
                                                      kMaxContexts);
  IdleContexts<ZSTD_CCtx> idle_{&ZSTD_createCCtx};
};

CompressorPool& LargeCompressors() {
  static auto* const pool = new CompressorPool;
  return *pool;
}

// Where a frame of at most `size` bytes is made: its own size is not known before. Few different
// sizes of buffers are best.
AlignedBuffer TakeScratch(size_t size) {
  const size_t step = size <= kSmallSize ? kSmallSize : kScratchStep;
  return TakeAlignedBuffer((size / step + 1) * step);
}

// Copies [begin, begin + size) of the parts, as far as there is so much.
void CopyRange(std::span<const absl::string_view> parts, size_t begin, size_t size,
               std::string& out) {
  for (const absl::string_view part : parts) {
    if (begin < part.size()) {
      const absl::string_view taken = part.substr(begin, size);
      out.append(taken.data(), taken.size());
      size -= taken.size();
      begin = part.size();
    }
    begin -= part.size();
  }
}

// One frame of `size` bytes.
std::optional<std::string> CompressWith(ZSTD_CCtx* context,
                                        std::span<const absl::string_view> parts, size_t size,
                                        int level, const Dictionary* dictionary) {
  CHECK(!ZSTD_isError(ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters)));
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)));
  if (dictionary != nullptr)
    CHECK(!ZSTD_isError(ZSTD_CCtx_refCDict(context, CHECK_NOTNULL(dictionary->compressing()))));
  CHECK(!ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, size)));
  const AlignedBuffer scratch = TakeScratch(WorthSize(size));
  ZSTD_outBuffer out = {scratch.get(), WorthSize(size), 0};
  size_t done = 0;
  for (const absl::string_view part : parts) {
    done += part.size();
    ZSTD_inBuffer in = {part.data(), part.size(), 0};
    const bool last = done == size;
    size_t left = 0;
    do {
      if (out.pos == out.size) return std::nullopt;
      left = ZSTD_compressStream2(context, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      CHECK(!ZSTD_isError(left)) << ZSTD_getErrorName(left);
    } while (in.pos < in.size || (last && left > 0));
    if (last) break;
  }
  return std::string(scratch.get(), out.pos);
}

absl::Status Damaged() {
  return MakeError(
      Reason::kBlobDamaged,
      "compressed content is damaged: it is no zstd frame of the size that it is to be");
}

}  // namespace

std::optional<CompressionPolicy> ParseCompression(absl::string_view text) {
  if (text == "auto") return CompressionPolicy();
  if (text == "off") return CompressionPolicy{.when = CompressionPolicy::When::kNever};
  int level = 0;
  if (!absl::SimpleAtoi(text, &level) || level < kMinLevel || level > kMaxLevel)
    return std::nullopt;
  return CompressionPolicy{.when = CompressionPolicy::When::kAlways, .level = level};
}

bool MayShrink(std::span<const absl::string_view> parts) {
  const size_t size = TotalSize(parts);
  std::string sample;
  if (size <= kSamples * kSampleSize) {
    CopyRange(parts, 0, size, sample);
  } else {
    const size_t step = (size - kSampleSize) / (kSamples - 1);
    for (size_t i = 0; i < kSamples; ++i) CopyRange(parts, i * step, kSampleSize, sample);
  }
  const absl::string_view whole = sample;
  return Compress({&whole, 1}, kMinLevel).has_value();
}

std::optional<std::string> Compress(std::span<const absl::string_view> parts, int level,
                                    const Dictionary* dictionary) {
  const size_t size = TotalSize(parts);
  if (size == 0) return std::nullopt;
  const auto compress_from = [&](auto& pool) {
    Compressor compressor = pool.Take();
    std::optional<std::string> frame =
        CompressWith(compressor.get(), parts, size, level, dictionary);
    pool.Return(std::move(compressor));
    return frame;
  };
  return size <= kSmallSize ? compress_from(SmallCompressors()) : compress_from(LargeCompressors());
}

absl::StatusOr<std::string> Decompress(absl::string_view frame, int64_t size_bytes,
                                       Dictionaries* dictionaries) {
  CHECK(size_bytes >= 0 && size_bytes <= static_cast<int64_t>(kMaxChunkSize));
  const auto size = static_cast<size_t>(size_bytes);
  // Errors are sizes that no content has.
  if (ZSTD_getFrameContentSize(frame.data(), frame.size()) != size ||
      ZSTD_findFrameCompressedSize(frame.data(), frame.size()) != frame.size()) {
    return Damaged();
  }
  std::shared_ptr<const Dictionary> dictionary;
  const uint32_t id = ZSTD_getDictID_fromFrame(frame.data(), frame.size());
  if (id != 0) {
    if (dictionaries == nullptr) {
      return MakeError(Reason::kBlobDamaged, absl::StrCat("compressed content needs ",
                                                          DictionaryName(id), " of its store"));
    }
    ASSIGN_OR_RETURN(dictionary, dictionaries->Find(id));
  }
  std::string bytes(size, '\0');
  Decompressor decompressor = Decompressors().Take();
  const size_t made =
      ZSTD_decompress_usingDDict(decompressor.get(), bytes.data(), size, frame.data(), frame.size(),
                                 dictionary ? dictionary->decompressing() : nullptr);
  Decompressors().Return(std::move(decompressor));
  if (made != size) return Damaged();
  return bytes;
}

}  // namespace backup::content
