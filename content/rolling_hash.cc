#include "content/rolling_hash.h"

#include <algorithm>

#include "glog/logging.h"

#if defined(__x86_64__)
// GCC 12 warns of what its own intrinsics leave undefined on purpose (GCC's bug 105593).
#pragma GCC diagnostic push
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace backup::content {
namespace {

// Each hash waits for the one before it, so that several places of a block, the lanes, are gone
// through at once. Their number divides kBlockUnit.
constexpr size_t kLanes = 4;
constexpr size_t kWideLanes = 16;
constexpr size_t kWideStep = 64;  // Bytes of a lane.
constexpr size_t kBlockUnit = kWideLanes * kWideStep;
constexpr size_t kMaxBlockSize = 16 * kBlockUnit;
constexpr size_t kMinBlockSize = 4 * kBlockUnit;  // Else it takes longer to begin than it saves.

}  // namespace

RollingHash::RollingHash(const GearTable& gear, Engine engine) : engine_(engine) {
  for (size_t i = 0; i < gear.size(); ++i) {
    gear_[i] = static_cast<uint32_t>(gear[i] >> 32);
    for (size_t byte = 0; byte < gear_bytes_.size(); ++byte)
      gear_bytes_[byte][i] = static_cast<uint8_t>(gear_[i] >> (8 * byte));
  }
}

std::optional<size_t> RollingHash::FindBelow(absl::string_view bytes, uint32_t threshold) {
  size_t done = 0;
  while (bytes.size() - done >= kMinBlockSize) {
    const size_t size = std::min(kMaxBlockSize, bytes.size() - done) / kBlockUnit * kBlockUnit;
    const absl::string_view block = bytes.substr(done, size);
    const bool skipped =
        engine_ == Engine::kWide ? SkipBlockWide(block, threshold) : SkipBlock(block, threshold);
    if (!skipped) break;
    done += size;
  }
  uint32_t hash = hash_;
  while (done < bytes.size()) {
    hash = Next(hash, bytes[done++]);
    if (hash >= threshold) continue;
    hash_ = hash;
    return done;
  }
  hash_ = hash;
  return std::nullopt;
}

uint32_t RollingHash::HashBefore(absl::string_view block, size_t place) const {
  uint32_t hash = 0;
  for (const char byte : block.substr(place - kWindow, kWindow)) hash = Next(hash, byte);
  return hash;
}

bool RollingHash::SkipBlock(absl::string_view block, uint32_t threshold) {
  const size_t lane_size = block.size() / kLanes;
  const char* const bytes = block.data();
  uint32_t first = hash_;
  uint32_t second = HashBefore(block, lane_size);
  uint32_t third = HashBefore(block, 2 * lane_size);
  uint32_t fourth = HashBefore(block, 3 * lane_size);
  for (size_t i = 0; i < lane_size; ++i) {
    first = Next(first, bytes[i]);
    second = Next(second, bytes[i + lane_size]);
    third = Next(third, bytes[i + 2 * lane_size]);
    fourth = Next(fourth, bytes[i + 3 * lane_size]);
    // One jump for all of them takes more instructions.
    if (first < threshold) return false;
    if (second < threshold) return false;
    if (third < threshold) return false;
    if (fourth < threshold) return false;
  }
  hash_ = fourth;
  return true;
}

#if defined(__x86_64__)

namespace {

// Not flags of the compiler for this file: what it inlines from headers must run everywhere.
#define BACKUP_WIDE_TARGET __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#define BACKUP_WIDE_INLINE BACKUP_WIDE_TARGET __attribute__((always_inline)) inline

// 16 rows of 16 words become 16 columns.
BACKUP_WIDE_INLINE void Transpose(__m512i rows[16]) {
  __m512i halves[16];
  for (int i = 0; i < 16; i += 2) {
    halves[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    halves[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  // Four rows at a time: each quarter of rows[i + c] has their column c of that quarter.
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(halves[i], halves[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(halves[i], halves[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(halves[i + 1], halves[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(halves[i + 1], halves[i + 3]);
  }
  for (int c = 0; c < 4; ++c) {
    const __m512i upper_even = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0x88);
    const __m512i upper_odd = _mm512_shuffle_i32x4(rows[c], rows[4 + c], 0xdd);
    const __m512i lower_even = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0x88);
    const __m512i lower_odd = _mm512_shuffle_i32x4(rows[8 + c], rows[12 + c], 0xdd);
    halves[c] = _mm512_shuffle_i32x4(upper_even, lower_even, 0x88);
    halves[4 + c] = _mm512_shuffle_i32x4(upper_odd, lower_odd, 0x88);
    halves[8 + c] = _mm512_shuffle_i32x4(upper_even, lower_even, 0xdd);
    halves[12 + c] = _mm512_shuffle_i32x4(upper_odd, lower_odd, 0xdd);
  }
  for (int i = 0; i < 16; ++i) rows[i] = halves[i];
}

// 256 bytes.
struct ByteTable {
  __m512i quarters[4];
};

BACKUP_WIDE_INLINE ByteTable LoadTable(const std::array<uint8_t, 256>& bytes) {
  ByteTable table;
  for (size_t i = 0; i < 4; ++i) table.quarters[i] = _mm512_loadu_si512(bytes.data() + 64 * i);
  return table;
}

BACKUP_WIDE_INLINE __m512i LookUp(const ByteTable& table, __m512i places) {
  const __m512i low = _mm512_permutex2var_epi8(table.quarters[0], places, table.quarters[1]);
  const __m512i high = _mm512_permutex2var_epi8(table.quarters[2], places, table.quarters[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(places), low, high);
}

// The hashes of all lanes, one byte later, and the lowest there were.
struct WideHash {
  __m512i hash;
  __m512i lowest;
};

BACKUP_WIDE_INLINE void Add(WideHash& wide, __m512i numbers) {
  wide.hash = _mm512_add_epi32(_mm512_add_epi32(wide.hash, wide.hash), numbers);
  wide.lowest = _mm512_min_epu32(wide.lowest, wide.hash);
}

// Four bytes of each lane.
BACKUP_WIDE_INLINE void AddFour(WideHash& wide, __m512i bytes, const ByteTable tables[4]) {
  // In each quarter, the first bytes of its four lanes, then the second ones, and so on: so that
  // the four bytes of a number come together, and its neighbours are of the other lanes.
  const __m512i by_place =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m512i places = _mm512_shuffle_epi8(bytes, by_place);
  const __m512i byte0 = LookUp(tables[0], places);
  const __m512i byte1 = LookUp(tables[1], places);
  const __m512i byte2 = LookUp(tables[2], places);
  const __m512i byte3 = LookUp(tables[3], places);
  const __m512i low01 = _mm512_unpacklo_epi8(byte0, byte1);
  const __m512i low23 = _mm512_unpacklo_epi8(byte2, byte3);
  const __m512i high01 = _mm512_unpackhi_epi8(byte0, byte1);
  const __m512i high23 = _mm512_unpackhi_epi8(byte2, byte3);
  Add(wide, _mm512_unpacklo_epi16(low01, low23));
  Add(wide, _mm512_unpackhi_epi16(low01, low23));
  Add(wide, _mm512_unpacklo_epi16(high01, high23));
  Add(wide, _mm512_unpackhi_epi16(high01, high23));
}

}  // namespace

RollingHash::Engine RollingHash::BestEngine() {
  static const bool wide = __builtin_cpu_supports("avx512f") &&
                           __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512vbmi");
  return wide ? Engine::kWide : Engine::kPortable;
}

BACKUP_WIDE_TARGET bool RollingHash::SkipBlockWide(absl::string_view block, uint32_t threshold) {
  const size_t lane_size = block.size() / kWideLanes;
  std::array<uint32_t, kWideLanes> hashes = {hash_};
  for (size_t lane = 1; lane < kWideLanes; ++lane)
    hashes[lane] = HashBefore(block, lane * lane_size);
  WideHash wide{_mm512_loadu_si512(hashes.data()), _mm512_set1_epi32(-1)};
  const ByteTable tables[4] = {LoadTable(gear_bytes_[0]), LoadTable(gear_bytes_[1]),
                               LoadTable(gear_bytes_[2]), LoadTable(gear_bytes_[3])};
  for (size_t i = 0; i < lane_size; i += kWideStep) {
    __m512i rows[kWideLanes];
    for (size_t lane = 0; lane < kWideLanes; ++lane)
      rows[lane] = _mm512_loadu_si512(block.data() + lane * lane_size + i);
    Transpose(rows);
    for (const __m512i& bytes : rows) AddFour(wide, bytes, tables);
  }
  const __m512i thresholds = _mm512_set1_epi32(static_cast<int>(threshold));
  if (_mm512_cmplt_epu32_mask(wide.lowest, thresholds) != 0) return false;
  _mm512_storeu_si512(hashes.data(), wide.hash);
  hash_ = hashes.back();
  return true;
}

#else

RollingHash::Engine RollingHash::BestEngine() { return Engine::kPortable; }

bool RollingHash::SkipBlockWide(absl::string_view /*block*/, uint32_t /*threshold*/) {
  LOG(FATAL) << "no such instructions";
}

#endif

}  // namespace backup::content
