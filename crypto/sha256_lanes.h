#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace backup::crypto {

// The compression function of SHA-256 by the processor's SHA instructions. These wait for each
// other's results most of the time, so that two messages at once (two lanes) take little more time
// than one: docs/adr/0031. Thread-safe.
using Sha256State = std::array<uint32_t, 8>;
inline constexpr size_t kSha256BlockSize = 64;
inline constexpr Sha256State kSha256Begin = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// Whether this processor has them; else the functions below must not be called.
bool HasSha256Lanes();

// Takes `count` blocks into the state.
void CompressSha256(Sha256State& state, const char* blocks, size_t count);
// The same of two messages, whose bytes may be the same.
void CompressSha256(Sha256State& first, const char* first_blocks, Sha256State& second,
                    const char* second_blocks, size_t count);

}  // namespace backup::crypto
