#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/ids.h"

// How much clients and the store may hold (docs/adr/0040-quotas.md), as plain values.
namespace backup::storage {

// Plaintext bytes of versions, and names of files. Of a client these are its versions that are not
// in the trash, and the files that have one; of the store, those of all clients, and the trash.
struct Usage {
  int64_t bytes = 0;
  int64_t files = 0;

  bool operator==(const Usage&) const = default;
};

// How much may be there; 0: as much as there is room for. What goes beyond a soft limit is told,
// what would go beyond a hard one is refused.
struct QuotaLimits {
  int64_t soft_bytes = 0;
  int64_t hard_bytes = 0;
  int64_t soft_files = 0;
  int64_t hard_files = 0;

  bool operator==(const QuotaLimits&) const = default;
};

// The numbers are those of the database and of proto/backup/v1/lifecycle.proto: never change one.
enum class QuotaKind : int {
  kStore = 1,
  kEveryClient = 2,  // That has none of its own.
  kClient = 3,
};

// What a quota is for. At most one is for the same.
struct QuotaScope {
  ClientId client;  // Of kClient; else all zero.
  QuotaKind kind = QuotaKind::kStore;

  bool operator==(const QuotaScope&) const = default;
  auto operator<=>(const QuotaScope&) const = default;
};

struct Quota {
  QuotaScope scope;
  QuotaLimits limits;

  bool operator==(const Quota&) const = default;
};

// The limits that somebody is held to, and what he uses.
struct QuotaUse {
  QuotaScope holder;  // The store, or a client, which may have every client's quota.
  QuotaLimits limits;
  Usage used;
  bool is_new_file = false;  // The file that is asked about does not count yet.

  bool operator==(const QuotaUse&) const = default;
};

// A soft limit that was passed.
struct PassedLimit {
  QuotaScope holder;
  absl::string_view name;  // "soft_bytes" or "soft_files".
  int64_t limit = 0;
  int64_t used = 0;  // From now on.

  bool operator==(const PassedLimit&) const = default;
};

// For people: "client UUID", "every client" or "the store".
std::string NameOf(const QuotaScope& scope);

// What a version of `size_bytes` of the file that was asked about adds.
Usage AddedBy(const QuotaUse& use, int64_t size_bytes);
// OK if `more` may come to what is used: nothing of what comes goes beyond a hard limit. Reason
// CLIENT_QUOTA, about the holder.
absl::Status CheckRoom(const QuotaUse& use, const Usage& more);
// The soft limits that `more` goes beyond, and that what is used does not.
std::vector<PassedLimit> LimitsPassed(const QuotaUse& use, const Usage& more);

}  // namespace backup::storage
