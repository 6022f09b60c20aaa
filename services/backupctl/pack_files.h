#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "content/stored_content.h"
#include "crypto/key_ring.h"

namespace backup::ctl {

// Where packs are looked for besides: files of a store, and all files below a folder of one.
struct MorePacks {
  std::vector<std::string> files;
  std::string folder;  // Empty: none.
};

// Whether the file at `path` is a pack rather than a version's blob. Errors as LocalFile::Open().
absl::StatusOr<bool> IsPackFile(const std::string& path);

// Opens a file of which the pack at `path` tells, from the packs' own words: its record, its recipe
// and its chunks, which may be in others. `version_id` says which file; 0: the only one. Without a
// master key nothing that is sealed can be read, and chunks are not compared with their ids. What
// cannot be read is done without, and a chunk that is found damaged is read from another pack that
// has it. Errors: InvalidArgument if the pack at `path` takes the key, or tells of none or several
// files, which it names; NotFound, naming what it is, if a part is in none of the packs; reason
// BLOB_DAMAGED.
absl::StatusOr<std::unique_ptr<content::StoredContent>> OpenPackFile(
    const std::string& path, const MorePacks& more, int64_t version_id,
    std::unique_ptr<crypto::KeyRing> master_key);

}  // namespace backup::ctl
