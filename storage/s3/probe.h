#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/s3/s3_client.h"

namespace backup::storage::s3 {

// What a store can do that not every store can.
struct Capabilities {
  bool has_conditions = false;  // A PUT with "If-None-Match: *" replaces nothing.
};

// Tries on objects of its own, PREFIX/probe/RANDOM, all that blobs need: to list, put, get, delete,
// begin, complete and abort an upload of parts. What an earlier probe that was killed left there is
// removed. FailedPrecondition, in one line, for a store that is not to be trusted with blobs: it
// takes a wrong secret, or content or a part that is not what its digest says, gives back something
// else, or forgets what an object is told with it. Other errors name what failed: a right that is
// missing, a bucket that is not there, a wrong region, a store that has too much to do.
absl::StatusOr<Capabilities> ProbeStore(S3Client& client);

// The same for who only reads: to list.
absl::Status ProbeReading(S3Client& client);

// What tells which StagedObject made an object, which the store is to keep with it.
inline constexpr absl::string_view kMakerHeader = "x-amz-meta-maker";

}  // namespace backup::storage::s3
