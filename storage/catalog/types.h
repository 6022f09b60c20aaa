#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/ids.h"
#include "storage/catalog/chunk.h"
#include "storage/catalog/legacy_profile.h"
#include "storage/catalog/version.h"

// What a catalog holds, and what is asked of it, as plain values.
namespace backup::storage {

// How far ahead of now a time may be that was noted before: clocks are set by a little now and
// then. One that is further in the future was noted while the clock was ahead, so that nobody knows
// when it was.
inline constexpr absl::Duration kMaxClockStep = absl::Minutes(1);
inline bool IsInFuture(absl::Time time, absl::Time now) { return time > now + kMaxClockStep; }
// The time that is noted of a client after another contact, which may be told later: the later one,
// but no longer one in the future.
inline absl::Time LaterContact(absl::Time before, absl::Time contact) {
  return IsInFuture(before, SystemClock().Now()) ? contact : std::max(before, contact);
}

struct Client {
  ClientId id;
  std::string name;  // Raw bytes.
  absl::Time create_time;
  absl::Time last_seen_time;
  std::string public_key;          // DER; empty before the key exchange.
  std::string sealed_session_key;  // Under the master key; empty before the key exchange.
  int session_key_bits = 0;
  std::optional<absl::Time> last_verified_time;
  LegacyProfile legacy;
  int64_t stored_bytes = 0;   // Plaintext sizes of its versions with content.
  int64_t kept_bytes = 0;     // What these versions made the store grow by when they came.
  int64_t resends = 0;        // Versions that it found damaged and sent again.
  int64_t file_count = 0;     // Files with versions that are not in the trash on their own,
  int64_t version_count = 0;  // and these versions; stored_bytes too is of them.
  std::optional<absl::Time> retain_until;  // The latest of those that it ever sent.
  std::optional<absl::Time> delete_time;   // Of one in the trash.
};

struct File {
  std::string name;  // Raw bytes.
  std::optional<Version> newest_verified;
  int64_t version_count = 0;
};

// Content in chunks, as the catalog refers to it: what Snapshot::ListChunks() lists.
struct ChunkList {
  int64_t chunk = 0;   // The number of its only chunk,
  int64_t recipe = 0;  // or of its recipe; both 0: it is empty.

  bool operator==(const ChunkList&) const = default;
};

// Where a version's bytes are: payload and footer in the catalog itself or in a blob of its own, as
// older programs kept everything and as the clients' own ciphertext is kept; or in chunks;
// monostate: discarded.
using Content = std::variant<std::monostate, std::string, BlobId, ChunkList>;

// Content that is to become a version's.
struct NewBlob {
  BlobId id;
  int64_t size_bytes = 0;  // What it takes.
};
using NewContent = std::variant<std::string, NewBlob, NewChunks>;

struct StoredVersion {
  Version version;
  Content content;
};

// How something is deleted: it goes into the trash, as of `time`, or is gone for good.
struct Deletion {
  absl::Time time;
  bool for_good = false;
};

// Which versions in the trash are asked for.
struct TrashFilter {
  std::optional<ClientId> client;        // Unset: all clients'.
  std::optional<std::string> file_name;  // Of that client; unset: all.
};

// Behind which entry of the trash a list goes on: the order is that of deletion, but for what is of
// one file (Snapshot::ListTrashedVersions).
template <typename IdType>
struct TrashPosition {
  absl::Time delete_time = absl::InfinitePast();
  IdType id = {};
};

// What a step of purging a client did.
struct PurgedClient {
  int64_t versions = 0;  // That are gone for good.
  bool is_gone = false;  // So is the client.
};

enum class DuplicateNames { kReject, kAllow };
enum class Rekey { kPin, kAllow };
// Whether an outcome says something about the checksum that the client compares: not if a wrong one
// was answered on purpose, or if the client named its kind.
enum class Learning { kOff, kOn };

struct KeyGrant {
  std::string public_key;
  std::string sealed_session_key;  // Stored unless the stored one stays.
  int session_key_bits = 128;
  bool rotate = false;  // Replace the stored session key even if the public key is the same.
};

// What a client makes of a file that it sent.
struct Verdict {
  ClientId client;
  std::string file_name;           // Raw bytes.
  std::optional<UploadId> upload;  // Which upload; without it the newest of this file.
  Outcome outcome = Outcome::kVerified;
  Learning learning = Learning::kOff;
};

// Whom a blob on its way belongs to, and how long that is believed without a renewal.
struct BlobLease {
  OwnerId owner;
  absl::Time end;
};

// What a catalog knows of a blob.
enum class BlobUse {
  kUnknown,     // Nothing: whatever the store has under this id is an orphan.
  kPending,     // It is being stored, or about to be.
  kReferenced,  // It is a version's content, or a pack.
  kDropped,     // Nothing needs it any more; it is to be deleted.
  kSetAside,    // It was found damaged, and nothing refers to it any more; no job deletes it.
};

// What is kept of a job that runs by itself (services/backup/jobs).
struct JobState {
  std::string name;
  std::string cursor;  // Where it goes on, in the job's own words; empty: at the beginning.
  std::optional<absl::Time> last_start_time;
  std::optional<absl::Time> last_success_time;
  std::string last_error;  // Of the last run; empty if that ended well.
  int64_t last_count = 0;  // What the last run that ended well did, in the job's own unit.
  int64_t total_count = 0;
};

// How much was kept at a time, by which growth is told.
struct SizeNote {
  absl::Time time;
  int64_t disk_bytes = 0;    // All that fills the disk: packs and other blobs, catalog, snapshots.
  int64_t stored_bytes = 0;  // Counts::stored_bytes.

  bool operator==(const SizeNote&) const = default;
};

struct Counts {
  int64_t clients = 0;
  int64_t files = 0;
  int64_t versions = 0;
  int64_t verified_versions = 0;
  int64_t abandoned_versions = 0;
  int64_t stored_bytes = 0;  // Plaintext sizes of versions with content.
  int64_t blob_bytes = 0;    // What the blobs of versions take, packs not counted.
  int64_t dropped_blobs = 0;
  // Chunks that a recipe refers to:
  int64_t chunks = 0;
  int64_t unique_bytes = 0;      // Their plaintext sizes,
  int64_t compressed_bytes = 0;  // what they take,
  int64_t waiting_bytes = 0;     // and what of that waits to be compressed.
  int64_t packs = 0;
  int64_t pack_bytes = 0;        // What packs take.
  int64_t pack_live_bytes = 0;   // The rest of it is garbage and footers.
  int64_t unmoved_versions = 0;  // With content in an older program's form that is to be moved.
  int64_t dropped_recipes = 0;
  int64_t policies = 0;         // Of retention.
  int64_t damaged_chunks = 0;   // That a recipe refers to.
  int64_t marked_versions = 0;  // MarkVersionDamaged(): not those of which only chunks are damaged.
  int64_t set_aside_blobs = 0;  // Found damaged, whether a version still refers to them or not.
  // Ever, by whatever stored the same bytes again or found that they are right after all:
  int64_t healed_chunks = 0;
  int64_t healed_versions = 0;  // That were marked.
  // In the trash, for which nothing above counts but what takes room:
  int64_t trash_clients = 0;
  int64_t trash_versions = 0;
  int64_t trash_files = 0;  // Files all of whose versions are there.
  int64_t trash_bytes = 0;  // Plaintext sizes of those with content.
};

}  // namespace backup::storage
