#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "storage/sqlite/database.h"

namespace backup::storage {

// A larger catalog is only rewritten if that was asked for: it takes longer than callers wait.
inline constexpr int64_t kMaxUnaskedRebuildBytes = int64_t{256} << 20;

// Whether a catalog was made by a version that made none that give room back (auto_vacuum).
absl::StatusOr<bool> NeedsRebuild(Database& database);

// Rewrites such a catalog into one that gives room back; `database` is the only connection to it of
// this process, and is closed. Where that may not be (it has more than `max_bytes`, there is no
// room for a copy and `spare_bytes` more, another program has it open, it is damaged) it stays as
// it is, and the log says why. Whatever happens, and whenever it ends, PATH is a whole catalog.
void Rebuild(const std::string& path, std::unique_ptr<Database> database, int64_t max_bytes,
             int64_t spare_bytes);

}  // namespace backup::storage
