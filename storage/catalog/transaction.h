#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/catalog/snapshot.h"

namespace backup::storage {

// Changes to a catalog that happen together or not at all. What it reads includes what it changed.
// After an error of one of its methods the transaction may be of no more use, so its function
// returns that error; reasons that a method names are no such errors, and leave everything as it
// was. Any method may fail with reason STORAGE_FULL beside those of Snapshot. Methods that take
// `now` also note it as the client's last_seen_time, which only goes back if it was in the future.
// A registration in the future is then noted as of `now`, unless others have the client's name:
// their order counts. Used by one thread at a time, within the function that it is given to.
class Transaction : public Snapshot {
 public:
  // Clients.

  // Makes a client with `new_id`. If a client of this name exists that never sent a key, that one
  // is returned instead, whatever the policy. Reason NAME_TAKEN (policy kReject, and the name's
  // client has a key).
  virtual absl::StatusOr<Client> RegisterClient(const std::string& name, const ClientId& new_id,
                                                DuplicateNames policy, absl::Time now) = 0;
  // Adds a client that was another server's: its id, name, create_time, last_seen_time, keys and
  // legacy are taken over. There must be none with its id. It is its name's last registered client,
  // for which create_time may be moved.
  virtual absl::Status AddClient(const Client& client) = 0;
  // Stores a key. The same public key with the same session_key_bits keeps the stored session key
  // unless `rotate`. Returns the client as it is now. Reasons CLIENT_NOT_FOUND, REKEY_REFUSED (a
  // different public key under kPin).
  virtual absl::StatusOr<Client> SetClientKey(const ClientId& id, const KeyGrant& grant,
                                              Rekey policy, absl::Time now) = 0;
  // Takes over what was observed of the client's protocol (LegacyProfile::Merge); returns the
  // client as it is now. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> UpdateLegacyProfile(const ClientId& id,
                                                     const LegacyProfile& observed) = 0;
  // Notes that the client was seen. May be written later than the rest, and lost in a crash. Reason
  // CLIENT_NOT_FOUND.
  virtual absl::Status TouchClient(const ClientId& id, absl::Time now) = 0;
  // Deletes at most `limit` of the client's versions, whichever; drops their blobs. Returns how
  // many. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<int64_t> DeleteVersionsOf(const ClientId& id, int limit) = 0;
  // Deletes the client and all it has; drops its blobs. Of one with many versions this is a large
  // transaction: DeleteVersionsOf() first. Reason CLIENT_NOT_FOUND.
  virtual absl::Status DeleteClient(const ClientId& id) = 0;

  // Versions.

  // The first of `count` numbers above all that were reserved before, also by other processes.
  // Numbers that are not used are skipped.
  virtual absl::StatusOr<int64_t> ReserveVersionIds(int64_t count) = 0;
  // Adds a version in state kReceived with its content, and to the client's record what was
  // `observed` of it. A blob must be pending, and is referenced from now on; `blob_size` is what it
  // takes. If a version with the same client and upload_id exists, nothing is added, the blob is
  // dropped unless that version is the one that refers to it, and that version is returned. Reasons
  // CLIENT_NOT_FOUND, BACKEND_DOWN (the blob is not pending any more: its lease ended, and it was
  // dropped; the file may be sent again).
  virtual absl::StatusOr<Version> AddVersion(const Version& version, const Content& content,
                                             int64_t blob_size, const LegacyProfile& observed) = 0;
  // Settles the version that the verdict is about, if that is still kReceived: kVerified makes it
  // count; kRetrying deletes it; kAbandoned keeps its row without content. A verdict that names no
  // upload is about the last version that was added to the file, even if that is gone by now, and
  // never about an older one: so a verdict that is repeated changes nothing. Returns whether it
  // changed anything. The client's last_verified_time never goes back. With `learning` on, a change
  // also tells the client's LegacyProfile what it compares. Reasons CLIENT_NOT_FOUND;
  // FILE_NOT_FOUND for kVerified without an upload if the client has no such file;
  // VERSION_NOT_FOUND for kVerified of an upload that is not there, made another file or was given
  // up. The other outcomes may be told of an upload that failed.
  virtual absl::StatusOr<bool> SettleVersion(const Verdict& verdict, absl::Time now) = 0;
  // Deletes one version; drops its blob. Reasons as FindVersion().
  virtual absl::Status DeleteVersion(const ClientId& client, const std::string& file_name,
                                     int64_t version_id) = 0;

  // Blobs: pending, then referenced by a version or dropped, then forgotten. A blob may be put into
  // the store once it is durably pending, and deleted there once it is durably dropped.

  // Makes blobs pending that the catalog knows nothing of.
  virtual absl::Status AddPendingBlobs(const std::vector<BlobId>& ids, const BlobLease& lease) = 0;
  // Gives all pending blobs of the lease's owner its new end.
  virtual absl::Status RenewLeases(const BlobLease& lease) = 0;
  // Drops a blob whose upload is over, unless a version refers to it. Also one of which the catalog
  // knows nothing: after its lease ended it was dropped and forgotten, and maybe put after that.
  virtual absl::Status DropPendingBlob(const BlobId& id) = 0;
  // Drops at most `limit` pending blobs of owners other than `self` whose lease ended before
  // `ended_before`; returns how many. With the infinite future for it: whatever their lease says.
  virtual absl::StatusOr<int64_t> DropPendingBlobsOfOthers(const OwnerId& self,
                                                           absl::Time ended_before, int limit) = 0;
  // Forgets blobs that were dropped, once the store has them no more.
  virtual absl::Status ForgetDroppedBlobs(const std::vector<BlobId>& ids) = 0;

  // Jobs.

  // Keeps it in the place of what is there under its name.
  virtual absl::Status SaveJob(const JobState& job) = 0;

  // Makes a change that changes nothing: durable, it means that writing works.
  virtual absl::Status ProbeWrite() = 0;
};

}  // namespace backup::storage
