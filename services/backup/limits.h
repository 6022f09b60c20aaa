#pragma once

#include <cstddef>
#include <cstdint>

namespace backup {

// Every bound of the service's API.
inline constexpr int64_t kMaxFileSizeBytes = int64_t{1} << 40;
// The legacy protocol counts packets in 16 bits.
inline constexpr int kMaxSegments = 65535;
// Of segments of one size, in bytes.
inline constexpr int kMaxSegmentSize = 1 << 30;
inline constexpr int kMaxMetadataSize = 16 << 10;
inline constexpr size_t kMaxModulePatternSize = 100;
// Each holds a thread.
inline constexpr int kMaxTraceWatchers = 16;
inline constexpr int kMaxConcurrentStreams = 1024;
// Calls of all services but IngestService that are answered at once, each by a thread of gRPC's
// own, of which a few only wait for the next call; gRPC refuses more with RESOURCE_EXHAUSTED.
inline constexpr int kMaxSynchronousCalls = 2048;
// Handlers at work at once; further calls wait for one to end.
inline constexpr int kMaxCallThreads = 256;
inline constexpr int kMaxUploadThreads = 2048;
inline constexpr int kDefaultPageSize = 50;
inline constexpr int kMaxPageSize = 1000;
// Bans, with those that ended less than a day ago: bridges are told all of them.
inline constexpr int kMaxBans = 4096;
// Of one call of a bridge.
inline constexpr int kMaxEarnedBans = 256;
inline constexpr int64_t kMaxInlineBlobLimit = int64_t{1} << 20;

}  // namespace backup
