#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/ids.h"

namespace backup::storage {

// Who did what to what, and what came of it. The catalog keeps it as it is: what makes an entry
// hold together with those before it (services/backup/audit) is its caller's.
struct AuditEntry {
  int64_t number = 0;  // From 1 on; the order of entries.
  absl::Time time;     // Whole microseconds.
  std::string actor;   // Who: the name in a certificate, or how else the caller came.
  std::string role;    // What lets it; empty if nothing is asked for.
  std::string peer;    // The address.
  std::string action;  // In small words.
  std::optional<ClientId> client;
  std::string object;      // The rest of what it was done to, such as a file's name as text.
  int64_t version_id = 0;  // 0: not of one version.
  std::string outcome;     // "OK", or the reason of a refusal.
  std::string detail;      // More of it, as text.
  std::string chain;       // 32 bytes.

  bool operator==(const AuditEntry&) const = default;
};

// Which entries are asked for: those of which all of it is true.
struct AuditFilter {
  absl::Time since = absl::InfinitePast();
  absl::Time until = absl::InfiniteFuture();  // Before it.
  std::optional<ClientId> client = {};
  std::string actor = {};   // A part of it; empty: whoever.
  std::string action = {};  // All of it; empty: whatever.
};

// Whether an entry is kept while nothing may grow (Transaction): those are that are about what
// makes room.
enum class AuditRoom { kAlways, kUnlessFull };

}  // namespace backup::storage
