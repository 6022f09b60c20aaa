#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/secret_bytes.h"
#include "storage/catalog/audit.h"

namespace backup::audit {

// How far the audit log is: its newest entry, or the newest of those that were removed by age.
struct Head {
  int64_t number = 0;
  absl::Time time;    // Of that entry; whole microseconds.
  std::string chain;  // Of that entry.

  bool operator==(const Head&) const = default;
};

// What heads are signed as: one is never taken for another.
enum class HeadKind {
  kNewest,   // The log is that far, at least.
  kRemoved,  // All up to there were removed by age.
};

// What makes entries hold together (HMAC-SHA-256 under the store's audit key): each has a value
// over its own fields and the value of the one before, so that none can be changed, left out, moved
// or put in without that key. Heads are signed with it, too, so that a missing end is noticed.
// Thread-safe.
class Chain {
 public:
  // What the first entry has before it.
  static std::string Origin();

  // content::StoreKeys::AuditKey().
  explicit Chain(SecretBytes key) : key_(std::move(key)) {}

  // The value of an entry, whose own AuditEntry::chain does not matter, behind one with `before`.
  std::string Link(absl::string_view before, const storage::AuditEntry& entry) const;
  Head HeadOf(const storage::AuditEntry& entry) const {
    return {entry.number, entry.time, entry.chain};
  }

  // A head as one line of text, signed: number, microseconds since 1970, value, signature.
  std::string Sign(HeadKind kind, const Head& head) const;
  // Nothing if it is no such text, or this key has not signed it as that.
  std::optional<Head> Read(HeadKind kind, absl::string_view text) const;

 private:
  std::string Signature(HeadKind kind, const Head& head) const;

  const SecretBytes key_;
};

}  // namespace backup::audit
