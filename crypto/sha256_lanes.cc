#include "crypto/sha256_lanes.h"

#include "glog/logging.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace backup::crypto {

#if defined(__x86_64__)
namespace {

// Not flags of the compiler for this file: what it inlines from headers must run everywhere.
#define BACKUP_SHA_TARGET __attribute__((target("sha,ssse3,sse4.1")))
#define BACKUP_SHA_INLINE BACKUP_SHA_TARGET __attribute__((always_inline)) inline

alignas(16) constexpr std::array<uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// One message. The state is kept as the instructions want it, the words a to h from the highest
// down: a b e f and c d g h. `words` are the last 16 of the message schedule, as a ring.
struct Lane {
  __m128i abef;
  __m128i cdgh;
  __m128i words[4];
  __m128i abef_before;
  __m128i cdgh_before;
  const char* next;
};

BACKUP_SHA_INLINE __m128i Load(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}

BACKUP_SHA_INLINE void Store(void* to, __m128i value) {
  _mm_storeu_si128(static_cast<__m128i*>(to), value);
}

BACKUP_SHA_INLINE void Begin(Lane& lane, const Sha256State& state, const char* blocks) {
  const __m128i cdab = _mm_shuffle_epi32(Load(state.data()), 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(Load(state.data() + 4), 0x1b);
  lane.abef = _mm_alignr_epi8(cdab, efgh, 8);
  lane.cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
  lane.next = blocks;
}

BACKUP_SHA_INLINE void End(const Lane& lane, Sha256State& state) {
  const __m128i feba = _mm_shuffle_epi32(lane.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(lane.cdgh, 0xb1);
  Store(state.data(), _mm_blend_epi16(feba, dchg, 0xf0));
  Store(state.data() + 4, _mm_alignr_epi8(dchg, feba, 8));
}

BACKUP_SHA_INLINE void BeginBlock(Lane& lane) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  for (int i = 0; i < 4; ++i)
    lane.words[i] = _mm_shuffle_epi8(Load(lane.next + size_t{16} * i), big_endian);
  lane.next += kSha256BlockSize;
  lane.abef_before = lane.abef;
  lane.cdgh_before = lane.cdgh;
}

BACKUP_SHA_INLINE void EndBlock(Lane& lane) {
  lane.abef = _mm_add_epi32(lane.abef, lane.abef_before);
  lane.cdgh = _mm_add_epi32(lane.cdgh, lane.cdgh_before);
}

// Four rounds, with the words at `kPlace` of the ring.
template <int kPlace>
BACKUP_SHA_INLINE void Rounds(Lane& lane, const uint32_t* constants) {
  const __m128i sum = _mm_add_epi32(lane.words[kPlace], Load(constants + 4 * kPlace));
  lane.cdgh = _mm_sha256rnds2_epu32(lane.cdgh, lane.abef, sum);
  lane.abef = _mm_sha256rnds2_epu32(lane.abef, lane.cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

// Replaces the words at `kPlace` by those of 16 rounds later.
template <int kPlace>
BACKUP_SHA_INLINE void Schedule(Lane& lane) {
  __m128i& words = lane.words[kPlace];
  const __m128i last = lane.words[(kPlace + 3) % 4];
  words = _mm_sha256msg1_epu32(words, lane.words[(kPlace + 1) % 4]);
  words = _mm_add_epi32(words, _mm_alignr_epi8(last, lane.words[(kPlace + 2) % 4], 4));
  words = _mm_sha256msg2_epu32(words, last);
}

// Four rounds of each lane: next to each other in the code, so that the processor sees them at
// once.
template <int kPlace, bool kIsLast, typename... Lanes>
BACKUP_SHA_INLINE void Step(const uint32_t* constants, Lanes&... lanes) {
  (Rounds<kPlace>(lanes, constants), ...);
  if constexpr (!kIsLast) (Schedule<kPlace>(lanes), ...);
}

template <bool kIsLast, typename... Lanes>
BACKUP_SHA_INLINE void SixteenRounds(const uint32_t* constants, Lanes&... lanes) {
  Step<0, kIsLast>(constants, lanes...);
  Step<1, kIsLast>(constants, lanes...);
  Step<2, kIsLast>(constants, lanes...);
  Step<3, kIsLast>(constants, lanes...);
}

template <typename... Lanes>
BACKUP_SHA_INLINE void CompressBlocks(size_t count, Lanes&... lanes) {
  for (; count > 0; --count) {
    (BeginBlock(lanes), ...);
    SixteenRounds<false>(kRoundConstants.data(), lanes...);
    SixteenRounds<false>(kRoundConstants.data() + 16, lanes...);
    SixteenRounds<false>(kRoundConstants.data() + 32, lanes...);
    SixteenRounds<true>(kRoundConstants.data() + 48, lanes...);
    (EndBlock(lanes), ...);
  }
}

bool HasInstructions() {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((ecx & bit_SSSE3) == 0 || (ecx & bit_SSE4_1) == 0) return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit_SHA) != 0;
}

}  // namespace

bool HasSha256Lanes() {
  static const bool has = HasInstructions();
  return has;
}

BACKUP_SHA_TARGET void CompressSha256(Sha256State& state, const char* blocks, size_t count) {
  Lane lane;
  Begin(lane, state, blocks);
  CompressBlocks(count, lane);
  End(lane, state);
}

BACKUP_SHA_TARGET void CompressSha256(Sha256State& first, const char* first_blocks,
                                      Sha256State& second, const char* second_blocks,
                                      size_t count) {
  Lane one;
  Lane other;
  Begin(one, first, first_blocks);
  Begin(other, second, second_blocks);
  CompressBlocks(count, one, other);
  End(one, first);
  End(other, second);
}

#else

bool HasSha256Lanes() { return false; }

void CompressSha256(Sha256State& /*state*/, const char* /*blocks*/, size_t /*count*/) {
  LOG(FATAL) << "no SHA instructions";
}

void CompressSha256(Sha256State& /*first*/, const char* /*first_blocks*/, Sha256State& /*second*/,
                    const char* /*second_blocks*/, size_t /*count*/) {
  LOG(FATAL) << "no SHA instructions";
}

#endif

}  // namespace backup::crypto
