#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/legacy_profile.h"
#include "storage/version.h"

namespace backup::storage {

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
  int64_t stored_bytes = 0;  // Plaintext sizes of its versions with content.
  int64_t resends = 0;       // Versions that it found damaged and sent again.
};

struct File {
  std::string name;  // Raw bytes.
  std::optional<Version> newest_verified;
  int64_t version_count = 0;
};

// Where a version's bytes (payload and footer) are: in the catalog itself, or in a blob; monostate:
// discarded.
using Content = std::variant<std::monostate, std::string, BlobId>;

struct StoredVersion {
  Version version;
  Content content;
};

enum class DuplicateNames { kReject, kAllow };
enum class Rekey { kPin, kAllow };
// Whether an outcome says something about the checksum that the client compares: not if a wrong one
// was answered on purpose, or if the client named its kind.
enum class Learning { kOff, kOn };

// What an outcome did.
struct Settlement {
  bool changed = false;          // Whether there was a version to settle.
  std::vector<BlobId> released;  // Nothing refers to them any more.
};

struct KeyGrant {
  std::string public_key;
  std::string sealed_session_key;  // Stored unless the stored one stays.
  int session_key_bits = 128;
  bool rotate = false;  // Replace the stored session key even if the public key is the same.
};

struct Counts {
  int64_t clients = 0;
  int64_t files = 0;
  int64_t versions = 0;
  int64_t verified_versions = 0;
  int64_t abandoned_versions = 0;
  int64_t stored_bytes = 0;  // Plaintext sizes of versions with content.
  std::optional<absl::Time> last_verified_time;
};

// Who owns which file and where its bytes are. Each method is one transaction, durable when it
// returns OK; an error means that nothing changed, except BACKEND_DOWN and STORAGE_IO, after which
// a change may or may not have happened. Any method may fail with reason STORAGE_FULL, STORAGE_IO,
// BACKEND_DOWN or STATE_CORRUPT beside those it names. Methods that take `now` also note it as the
// client's last_seen_time. Thread-safe.
class Catalog {
 public:
  virtual ~Catalog() = default;

  // For callers that no thread should wait for: runs `work` soon, on a thread of the catalog's own
  // or on this one, and then `done`. What `work` changes through this catalog, on that thread, is
  // durable only when `done` is called with OK; an error means that nothing of it was changed, with
  // the exceptions above. Reason OVERLOADED if too many wait, in which case `work` does not run.
  // Both are part of everybody's way to the disk: they must neither block nor take long, and `done`
  // must not use the catalog.
  virtual void Start(std::function<void()> work, std::function<void(const absl::Status&)> done) = 0;

  // Makes a client with `new_id`. If a client of this name exists that never sent a key, that one
  // is returned instead, whatever the policy. Reasons: NAME_TAKEN (policy kReject, and the name's
  // client has a key).
  virtual absl::StatusOr<Client> RegisterClient(const std::string& name, const ClientId& new_id,
                                                DuplicateNames policy, absl::Time now) = 0;
  // Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> FindClient(const ClientId& id) = 0;
  // The client of that name that registered last. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> FindClientByName(const std::string& name) = 0;
  // Up to `limit` clients with ids above `after`, in order.
  virtual absl::StatusOr<std::vector<Client>> ListClients(const ClientId& after, int limit) = 0;
  // Deletes the client and all it has; returns the blobs that nothing refers to any more. Reason
  // CLIENT_NOT_FOUND.
  virtual absl::StatusOr<std::vector<BlobId>> DeleteClient(const ClientId& id) = 0;

  // Stores a key. The same public key with the same session_key_bits keeps the stored session key
  // unless `rotate`. Returns the client as it is now. Reasons: CLIENT_NOT_FOUND, REKEY_REFUSED (a
  // different public key under kPin).
  virtual absl::StatusOr<Client> SetClientKey(const ClientId& id, const KeyGrant& grant,
                                              Rekey policy, absl::Time now) = 0;
  // Takes over what was observed of the client's protocol (LegacyProfile::Merge); returns the
  // client as it is now. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> UpdateLegacyProfile(const ClientId& id,
                                                     const LegacyProfile& observed) = 0;
  // Notes that the client was seen. May be written later and lost in a crash. Reason
  // CLIENT_NOT_FOUND.
  virtual absl::Status TouchClient(const ClientId& id, absl::Time now) = 0;

  // A number above every one given out before, also by earlier processes; numbers may be skipped.
  // Cheap: reserved in blocks, so most calls touch no disk.
  virtual absl::StatusOr<int64_t> AllocateVersionId() = 0;
  // Adds a version in state kReceived with its content, and to the client's record what was
  // `observed` of it. If a version with the same client and upload_id exists, nothing is added and
  // that one is returned. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Version> AddVersion(const Version& version, const Content& content,
                                             const LegacyProfile& observed) = 0;
  // The version that an upload id made, if any.
  virtual absl::StatusOr<std::optional<Version>> FindUpload(const ClientId& client,
                                                            const UploadId& upload) = 0;
  // Settles the newest version of the file that is still kReceived: kVerified makes it count;
  // kRetrying deletes it; kAbandoned keeps its row without content. With nothing left to settle:
  // OK, and nothing changed, if the file has any version, or for kRetrying and kAbandoned if the
  // client is known (they may be told twice, or of an upload that failed); otherwise reason
  // FILE_NOT_FOUND. Reason CLIENT_NOT_FOUND. With `learning` on, a version that is settled also
  // tells the client's LegacyProfile what it compares.
  virtual absl::StatusOr<Settlement> SettleVersion(const ClientId& client,
                                                   const std::string& file_name, Outcome outcome,
                                                   Learning learning, absl::Time now) = 0;

  // One version; version_id 0 means the newest verified one. `with_content` false leaves content
  // empty. Reasons CLIENT_NOT_FOUND, FILE_NOT_FOUND, VERSION_NOT_FOUND.
  virtual absl::StatusOr<StoredVersion> FindVersion(const ClientId& client,
                                                    const std::string& file_name,
                                                    int64_t version_id, bool with_content) = 0;
  // Up to `limit` files with names above `after` (bytewise), in order. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<std::vector<File>> ListFiles(const ClientId& client,
                                                      const std::string& after, int limit) = 0;
  // Up to `limit` versions with ids below `before` (0: no bound), newest first. Reasons as
  // FindVersion.
  virtual absl::StatusOr<std::vector<Version>> ListVersions(const ClientId& client,
                                                            const std::string& file_name,
                                                            int64_t before, int limit) = 0;
  // Deletes one version; returns the blobs that nothing refers to any more. Reasons as FindVersion.
  virtual absl::StatusOr<std::vector<BlobId>> DeleteVersion(const ClientId& client,
                                                            const std::string& file_name,
                                                            int64_t version_id) = 0;

  // For verification: up to `limit` versions of all clients with ids above `after`, in order, with
  // content.
  virtual absl::StatusOr<std::vector<StoredVersion>> ScanVersions(int64_t after, int limit) = 0;
  // Whether any version refers to the blob.
  virtual absl::StatusOr<bool> HasBlob(const BlobId& id) = 0;
  virtual absl::StatusOr<Counts> Count() = 0;

  // Up to `limit` clients with ids above `after`, in order, that neither verified a file nor
  // registered at or after `since`.
  virtual absl::StatusOr<std::vector<Client>> ListStaleClients(absl::Time since,
                                                               const ClientId& after,
                                                               int limit) = 0;
  // How many clients ListStaleClients() would list without limit.
  virtual absl::StatusOr<int64_t> CountStaleClients(absl::Time since) = 0;
  // Makes a change that changes nothing durable: OK means that writing works.
  virtual absl::Status ProbeWrite() = 0;
};

}  // namespace backup::storage
