#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "crypto/key_generations.h"
#include "crypto/key_ring.h"
#include "storage/catalog/catalog.h"

namespace backup::handlers {

// Whether this ring opens what a store has sealed: its secret, or else session keys of clients.
// FailedPrecondition if not, with reason KEY_MISSING if a generation is missing; errors of
// Catalog::Read().
absl::Status CheckKeyRing(storage::Catalog& catalog, const crypto::KeyRing& ring);
// Whether a catalog has neither a client nor a version nor a pack, in the trash or out of it.
absl::StatusOr<bool> HoldsNothing(storage::Catalog& catalog);
// Leaves out the numbers of generations that may have been given since the catalog was as it is:
// what those have sealed may be in the store, and another of the same number would not open it. It
// leaves out as many as there are seconds since 1970, so that no two times it ends at the same one.
absl::Status SkipGenerations(storage::Transaction& transaction, absl::Time now);

// The generations of a store's keys: in the catalog and, for when that is lost, in a file. Each
// change is in the file, then in the catalog, then in force, so that whatever ends in between, what
// was sealed can be opened by what either of them has (ADR 39). Thread-safe.
class KeyKeeper {
 public:
  // Reads them from where they are, and from both if they differ; nothing is changed. A store
  // without generations, of an older program, has the master key that fits as generation 0, also if
  // there is a file with others. None of them if a store is new, which is one that holds nothing.
  // FailedPrecondition, saying what to do, if a generation is of another master key, or the two
  // places have different ones, or one in the file is of a master key that is not given and the
  // catalog's is another; reason STATE_CORRUPT if the file is damaged, whatever the catalog has, or
  // the catalog's are and there is no file; what the file's reading says if it is there and cannot
  // be read. `catalog` must outlive it.
  static absl::StatusOr<std::unique_ptr<KeyKeeper>> Read(storage::Catalog& catalog,
                                                         crypto::MasterKeys master_keys,
                                                         const std::string& path, absl::Time now);
  // As above; makes a new store's first one, and makes good what one of the places lacks, once it
  // is sure that they open what the store has sealed (CheckKeyRing). What was
  // damaged in the catalog is kept beside (kDamagedName). A file that cannot be written is no
  // error, but a line in the log, as long as the catalog has them all.
  static absl::StatusOr<std::unique_ptr<KeyKeeper>> Open(storage::Catalog& catalog,
                                                         crypto::MasterKeys master_keys,
                                                         const std::string& path, absl::Time now);

  // What is done in a transaction besides.
  using Change = std::function<absl::Status(storage::Transaction&)>;
  static absl::Status ChangeNothing(storage::Transaction&) { return absl::OkStatus(); }

  // The catalog's value that has what was there and could not be read.
  static constexpr char kDamagedName[] = "key_generations.damaged";
  // And that which has the highest number that was ever given, or left out.
  static constexpr char kLastName[] = "key_generations.last";

  // Has each generation from the moment on that it is kept.
  const crypto::KeyRing& ring() const { return ring_; }
  const crypto::MasterKeys& master_keys() const { return master_keys_; }
  // In order.
  std::vector<crypto::KeyGeneration> generations() const;
  // Whether the current master key alone opens all of them.
  bool IsRewrapped() const;
  // Whether the file has those that are in force, as far as this process has read or written it.
  bool IsInFile() const;

  // Makes a generation that seals from now on; returns it. Reasons KEY_CHANGE_REFUSED if there are
  // kMaxKeyGenerations, or not all are rewrapped, or somebody else has written the file;
  // KEY_MISSING, saying what it is, if something in the catalog is sealed by a generation that is
  // not there; STORAGE_FULL, STORAGE_IO. An error leaves everything as it was, for all that seals.
  // Does `also` in the same transaction.
  absl::StatusOr<crypto::KeyGeneration> Rotate(absl::Time now, const Change& also = ChangeNothing);
  // Wraps all under the current master key, and makes a new one if what seals is an old master key
  // itself. Returns how many were wrapped anew. Errors as of Rotate(), KEY_MISSING only if a new
  // one is to be made.
  absl::StatusOr<int> Rewrap(absl::Time now, const Change& also = ChangeNothing);
  // Removes those of these generations that are there, but not the one that seals, and does `also`
  // in the same transaction. By then nothing may be sealed by them but what the catalog's rows
  // have: if one of those is (NamedGenerations), nothing changes, and it returns which; else it
  // returns an empty string. Errors as of Rotate().
  absl::StatusOr<std::string> Remove(const std::set<uint32_t>& numbers, const Change& also);
  // Reads them from both places, and opens them with the current master key alone. They must be
  // those that are in force: reason KEY_CHANGE_REFUSED, saying what is not so. Adds them to `ring`,
  // which is empty.
  absl::Status ReadAlone(crypto::KeyRing& ring) const;

 private:
  KeyKeeper(storage::Catalog& catalog, crypto::MasterKeys master_keys, std::string path)
      : catalog_(catalog), master_keys_(std::move(master_keys)), path_(std::move(path)) {}

  absl::Status Load(absl::Time now);
  // Generation 0 of a store that has none.
  absl::Status Adopt(absl::Time now);
  // The same beside others, if the catalog has something that 0 has sealed, or may have, as no
  // program has opened it that knew of generations.
  absl::Status AdoptBeside(absl::Time now, bool has_seen_generations,
                           std::vector<crypto::KeyGeneration>& generations);
  // The master key that opens what generation 0 has sealed. FailedPrecondition if none does.
  absl::StatusOr<const crypto::MasterKey*> FindFirst() const;
  absl::StatusOr<bool> IsNew() const;
  // Whether they open what the store has sealed.
  absl::Status CheckFits() const;
  // That what is sealed does not open with these keys, and what to do.
  absl::Status ToldOfKeys(const absl::Status& error) const;
  absl::Status CheckNoneIsMissing() const;
  // Nobody else may have written it, whose keys would be lost.
  absl::Status CheckFileIsOurs() ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // That, and whether it can be written, by writing what it should have: before anything that takes
  // long is done for a change that could not be kept.
  absl::Status CheckFile() ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  absl::Status WriteFile(const std::string& text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // With those that `generations` are to be from now on.
  absl::Status Keep(std::vector<crypto::KeyGeneration> generations,
                    const Change& also = ChangeNothing)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  absl::Status KeepInCatalog(const std::string& text, const Change& also = ChangeNothing)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // Whether a change of which the catalog has not told that it is durable is so all the same.
  bool CameToKeep(const std::string& text) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);
  // Not kept yet; its number was never given before.
  absl::StatusOr<crypto::KeyGeneration> NewGeneration(absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(change_mutex_);

  storage::Catalog& catalog_;
  const crypto::MasterKeys master_keys_;
  const std::string path_;
  crypto::KeyRing ring_;
  mutable Mutex change_mutex_;  // Held while a change is made, which waits for catalog and disk.
  mutable Mutex mutex_;         // Of what a change leaves: never held for long.
  std::vector<crypto::KeyGeneration> generations_ ABSL_GUARDED_BY(mutex_);
  uint32_t last_number_ ABSL_GUARDED_BY(change_mutex_) = 0;  // That was given, or left out.
  // What the two places have, as it was read; empty if nothing, or if it is damaged.
  std::string in_catalog_;
  std::string in_file_;  // As it was read, or written; that with both mutexes held.
  // What writes that failed may have left in the file: two at most.
  std::vector<std::string> tried_ ABSL_GUARDED_BY(change_mutex_);
  std::string damaged_in_catalog_;
};

}  // namespace backup::handlers
