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
// their order counts. Of a version with a recipe it does not tell is_damaged: the recipe would be
// read whole, for which all other changes wait. Used by one thread at a time, within the function
// that it is given to.
class Transaction : public Snapshot {
 public:
  // Steps of a recipe in one call: that many of known chunks all over a large catalog take 5 ms,
  // for which every other change waits. Chunks of packs that come along are not counted.
  static constexpr size_t kMaxRecipePart = 240;
  // Versions that one call deletes, purges or takes back: so many take about 10 ms.
  static constexpr int kMaxDeletedVersions = 128;
  // Chunks that one RewritePacks() moves, and that it removes.
  static constexpr size_t kMaxRewrittenChunks = 1024;

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
  // Puts `sealed` in the place of a client's sealed session key, in the trash or out of it, if that
  // is still `before`; returns whether it was.
  virtual absl::StatusOr<bool> ResealSessionKey(const ClientId& id, const std::string& before,
                                                const std::string& sealed) = 0;
  // Takes over what was observed of the client's protocol (LegacyProfile::Merge); returns the
  // client as it is now. Reason CLIENT_NOT_FOUND.
  virtual absl::StatusOr<Client> UpdateLegacyProfile(const ClientId& id,
                                                     const LegacyProfile& observed) = 0;
  // Notes that the client was seen. May be written later than the rest, and lost in a crash. Reason
  // CLIENT_NOT_FOUND.
  virtual absl::Status TouchClient(const ClientId& id, absl::Time now) = 0;

  // Versions.

  // The first of `count` numbers above all that were reserved before, also by other processes.
  // Numbers that are not used are skipped.
  virtual absl::StatusOr<int64_t> ReserveVersionIds(int64_t count) = 0;
  // Adds a version in state kReceived with its content, and to the client's record what was
  // `observed` of it. Blobs, packs too, must be pending, and are referenced from now on; a recipe
  // that was begun must be its owner's still. If a version with the same client and upload_id
  // exists, nothing is added, what the content brought is dropped unless that version is the one
  // that has it, and that version is returned. Reasons CLIENT_NOT_FOUND, BACKEND_DOWN (a blob is
  // not pending any more: its lease ended, and it was dropped; or a chunk that was known is gone
  // or was found damaged;
  // the file may be sent again).
  //
  // Of chunks: the recipe refers to each of them. One that a new pack holds, or that comes inline,
  // and that is there already stays where it is, unless that is damaged or condemned, or a pack for
  // which there is no InlineChunk::has_pack_key: then the new place is its place from now on. What
  // a new pack holds besides is garbage in it; a pack of garbage alone is dropped at once.
  virtual absl::StatusOr<Version> AddVersion(const Version& version, const NewContent& content,
                                             const LegacyProfile& observed) = 0;
  // Puts the beginning of a long recipe down, or the next part of it (`part.recipe_id`), so that
  // neither memory nor a transaction grows with the file; returns the recipe's id. At most
  // kMaxRecipePart steps at once. It belongs to the lease's owner, as a pending blob does. Packs
  // and reason BACKEND_DOWN as for AddVersion().
  virtual absl::StatusOr<int64_t> AppendRecipe(const NewChunks& part, const BlobLease& lease) = 0;
  // Drops a recipe whose upload is over, unless a version refers to it.
  virtual absl::Status DropPendingRecipe(int64_t recipe_id) = 0;
  // Puts `content`, which equals it, in the place of `old`, a blob or what is inline; the old blob
  // is dropped. Only if `old` is still the version's content, and that is not marked as damaged:
  // whoever read it then cannot have read what was stored. Returns whether it did: else what
  // `content` brought is dropped. Reason BACKEND_DOWN as for AddVersion().
  virtual absl::StatusOr<bool> ReplaceContent(int64_t version_id, const Content& old,
                                              const NewContent& content) = 0;
  // Notes that a version's content is not what was stored, or not there: the version is_damaged
  // until it is healed. Only if `content` is still its content. Its blob, if it has one, is set
  // aside: from then on only DiscardSetAside() drops it. Returns whether it was noted now.
  virtual absl::StatusOr<bool> MarkVersionDamaged(int64_t version_id, const Content& content) = 0;
  // Takes that back of a version whose content could be read after all: neither is the version
  // marked from then on nor its blob set aside. Only if `content` is still its content. Returns
  // whether it was marked.
  virtual absl::StatusOr<bool> MarkVersionWhole(int64_t version_id, const Content& content) = 0;
  // Puts `content`, which equals what was stored and is kept in `form`, in the place of `old`, what
  // a damaged version has, and takes the mark off; a blob that was set aside stays so. Only if
  // `old` is still its content and, unless that is a recipe, still damaged. Returns whether it did:
  // else what `content` brought is dropped. Reason BACKEND_DOWN as for AddVersion().
  virtual absl::StatusOr<bool> HealVersion(int64_t version_id, const Content& old, StorageForm form,
                                           const NewContent& content) = 0;
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

  // Deleting, and taking it back. All of it works while a full disk keeps everything else from
  // growing. Lists of ids have at most kMaxDeletedVersions. What must be kept for longer
  // (Version::retain_until, Client::retain_until), or has such a time while the clock is not
  // trusted (ClockNote), is not deleted: reason RETAINED, and in lists it is left out. What goes
  // into the trash is noted to have been deleted at the time that is given, but not before
  // ClockNote::newest_time: by a clock that is behind it would be purged too early.

  // Deletes one version. Reasons as FindVersion().
  virtual absl::Status DeleteVersion(const ClientId& client, const std::string& file_name,
                                     int64_t version_id, const Deletion& deletion) = 0;
  // Deletes those of these versions that are there; returns how many.
  virtual absl::StatusOr<int64_t> DeleteVersions(const std::vector<int64_t>& ids,
                                                 const Deletion& deletion) = 0;
  // Puts a client into the trash, as of `delete_time`, with all that it has: its versions are as
  // they were when it is taken back. Reason CLIENT_NOT_FOUND.
  virtual absl::Status DeleteClient(const ClientId& id, absl::Time delete_time) = 0;
  // Takes one version back; one that is not in the trash stays as it is. Returns it. Reasons as
  // FindVersion().
  virtual absl::StatusOr<Version> UndeleteVersion(const ClientId& client,
                                                  const std::string& file_name,
                                                  int64_t version_id) = 0;
  // Takes those of these versions back that were deleted on their own; returns how many.
  virtual absl::StatusOr<int64_t> UndeleteVersions(const std::vector<int64_t>& ids) = 0;
  // Takes a client back; one that is not in the trash stays as it is. Returns it. Reasons
  // CLIENT_NOT_FOUND (also of one that is half purged), NAME_TAKEN (policy kReject, and another
  // client has its name by now).
  virtual absl::StatusOr<Client> UndeleteClient(const ClientId& id, DuplicateNames policy) = 0;
  // Removes those of these versions for good that were deleted on their own at `deleted_by` or
  // before, and need not be kept for longer than that; returns how many.
  virtual absl::StatusOr<int64_t> PurgeVersions(const std::vector<int64_t>& ids,
                                                absl::Time deleted_by) = 0;
  // Removes at most `limit` versions of a client for good that was deleted at `deleted_by` or
  // before, whichever, and, if these are less than `limit`, the client. Of any other client, and of
  // none, it does nothing. A client of which something is left is half purged from then on: its
  // delete_time is the epoch, so that it is purged first, is due at any time, and nobody finds it
  // or may have it back (Snapshot::FindTrashedClient).
  virtual absl::StatusOr<PurgedClient> PurgeClient(const ClientId& id, absl::Time deleted_by,
                                                   int limit) = 0;

  // Retention. A policy goes with its client.

  // Keeps it in the place of the one of the same scope. Reason CLIENT_NOT_FOUND.
  virtual absl::Status SetPolicy(const RetentionPolicy& policy) = 0;
  // Returns whether there was one.
  virtual absl::StatusOr<bool> DeletePolicy(const PolicyScope& scope) = 0;
  // Deletes those of these versions that are there, are in the state that is given and may go by
  // the deletion's time: not one that must be kept for longer (Version::retain_until), nor a
  // verified one unless `readable` is there, verified, newer, of the same file and neither marked
  // nor a damaged chunk. So neither the newest version of a file goes nor the newest that can be
  // read, if none of the recipes was found damaged since they were looked at, which is for the
  // caller to compare (DamageEpoch). Rows of versions that were given up go for good. Returns how
  // many. At most kMaxDeletedVersions at once.
  virtual absl::StatusOr<int64_t> ExpireVersions(const std::vector<Expiring>& expiring,
                                                 const Deletion& deletion) = 0;
  // Keeps it in the place of the one before.
  virtual absl::Status SaveClockNote(const ClockNote& note) = 0;

  // Quotas. They are for whoever adds versions to look at: no method here refuses anything because
  // of one. A quota goes with its client.

  // Keeps it in the place of the one for the same. Reason CLIENT_NOT_FOUND.
  virtual absl::Status SetQuota(const Quota& quota) = 0;
  // Returns whether there was one.
  virtual absl::StatusOr<bool> DeleteQuota(const QuotaScope& scope) = 0;

  // Blobs: pending, then referenced (by a version, or as a pack) or dropped, then forgotten. A blob
  // may be put into the store once it is durably pending, and deleted there once it is durably
  // dropped.

  // Makes blobs pending that the catalog knows nothing of.
  virtual absl::Status AddPendingBlobs(const std::vector<BlobId>& ids, const BlobLease& lease) = 0;
  // Gives all pending blobs, pending recipes and the epoch of the lease's owner its new end.
  virtual absl::Status RenewLeases(const BlobLease& lease) = 0;
  // Drops a blob whose upload is over, unless it is referenced. Also one of which the catalog
  // knows nothing: after its lease ended it was dropped and forgotten, and maybe put after that.
  virtual absl::Status DropPendingBlob(const BlobId& id) = 0;
  // Drops at most `limit` pending blobs of owners other than `self` whose lease ended before
  // `ended_before`, and their pending recipes and epochs; returns how many. With the infinite
  // future for it: whatever their lease says.
  virtual absl::StatusOr<int64_t> DropPendingBlobsOfOthers(const OwnerId& self,
                                                           absl::Time ended_before, int limit) = 0;
  // Drops at most `limit` blobs that were set aside and that nothing refers to; returns how many.
  virtual absl::StatusOr<int64_t> DiscardSetAside(int limit) = 0;
  // Forgets all blobs that are pending, whoever owns them, and drops all pending recipes. For a
  // catalog that is put in the place of a later one: that may have come to refer to these blobs, so
  // they must not be dropped.
  virtual absl::Status ForgetPending() = 0;
  // Forgets blobs that were dropped, once the store has them no more.
  virtual absl::Status ForgetDroppedBlobs(const std::vector<BlobId>& ids) = 0;

  // Chunks and packs. A chunk without a reference keeps its place, so that who knows it may refer
  // to it again, until its pack is condemned and then rewritten. In the catalog it goes at once.

  // Releases references of dropped recipes, at most about `limit` steps of them; returns how many,
  // 0 if no dropped recipe is left.
  virtual absl::StatusOr<int64_t> ReleaseRecipes(int limit) = 0;
  // Notes that a chunk cannot be read: the next upload of the same bytes stores it again. Only if
  // it is still in this pack (0: in the catalog).
  virtual absl::Status MarkDamaged(int64_t chunk, int64_t pack) = 0;
  // Takes that back of a chunk that could be read after all. Only if it is still in this pack.
  virtual absl::Status MarkWhole(int64_t chunk, int64_t pack) = 0;
  // Condemns packs: their chunks without a reference are not to be referred to any more by uploads
  // that look for them from now on. Returns the new epoch, which is above all before.
  virtual absl::StatusOr<int64_t> CondemnPacks(const std::vector<int64_t>& packs) = 0;
  // Says that no upload of the lease's owner holds an epoch below this one (BlobLedger::Upload).
  virtual absl::Status PublishEpoch(const BlobLease& lease, int64_t epoch) = 0;
  // Puts pending packs, which hold the chunks of `sources` that are needed, in their place: each
  // chunk that is still in a source is in the new pack from now on, with the coding it has there.
  // Chunks that are condemned, have no reference and were not taken along go, and so does a source
  // without chunks, whose blob is dropped. Returns how many sources went. What is left in a
  // condemned source and lost its last reference since is condemned now, for the next time: an
  // upload may have found it. Reason BACKEND_DOWN as for AddVersion(). At most kMaxRewrittenChunks
  // chunks at once; more than so many do not go either, and keep their source for the next time.
  virtual absl::StatusOr<int64_t> RewritePacks(const std::vector<int64_t>& sources,
                                               const std::vector<NewPack>& packs) = 0;
  // Keeps a value under this name if there is none; returns the one that is kept.
  virtual absl::StatusOr<std::string> AddStoreValue(const std::string& name,
                                                    const std::string& value) = 0;
  // Keeps a value under this name in the place of what is there.
  virtual absl::Status SetStoreValue(const std::string& name, const std::string& value) = 0;

  // Reports.

  // Keeps it behind those before. Those that are not of an earlier time go, since they were noted
  // while the clock was ahead; so do the oldest beyond kMaxSizeNotes.
  virtual absl::Status AddSizeNote(const SizeNote& note) = 0;

  // Jobs.

  // Keeps it in the place of what is there under its name.
  virtual absl::Status SaveJob(const JobState& job) = 0;

  // The audit log. What becomes of a client or a version changes nothing in it.

  // Adds an entry, whose number must be above all that are there. Reason STORAGE_FULL, also while
  // nothing may grow unless `room` is kAlways.
  virtual absl::Status AppendAuditEntry(const AuditEntry& entry, AuditRoom room) = 0;
  // Removes the oldest entries with numbers up to `last`, at most `limit`; returns how many.
  virtual absl::StatusOr<int64_t> DropAuditEntries(int64_t last, int limit) = 0;

  // Bans. They are for bridges to look at: no method here refuses anything because of one.

  // Keeps it in the place of the one of the same network.
  virtual absl::Status SetBan(const Ban& ban) = 0;
  // Returns whether there was one.
  virtual absl::StatusOr<bool> DeleteBan(const std::string& network) = 0;
  // Forgets all that ended at `time` or before; returns how many.
  virtual absl::StatusOr<int64_t> DropEndedBans(absl::Time time) = 0;

  // Makes a change that changes nothing: durable, it means that writing works.
  virtual absl::Status ProbeWrite() = 0;
};

}  // namespace backup::storage
