#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/file_system.h"

namespace backup::storage {

// A folder of snapshots of the catalog: files that are found by their names alone, because they are
// needed when there is no catalog. Several stores may have theirs in it. Used by one thread at a
// time, and only one process at a time may change what is of one store, or of none; List() and
// Open() by any number.
class SnapshotFolder {
 public:
  // Of these, and of one a day before them, none is removed.
  static constexpr int kKept = 8;
  static constexpr int kKeptDays = 30;
  // What is on its way is written to all the time.
  static constexpr absl::Duration kPartAge = absl::Hours(7 * 24);
  // The store value of a catalog that says which store it is: Entry::store.
  static constexpr char kStoreValue[] = "snapshots.store";

  struct Entry {
    int64_t number = 0;  // Above those of its store before it, whatever the clock says.
    absl::Time time;     // When it was taken, as its name says it: whole seconds.
    std::string store;   // Whose catalog it is, in hex; empty: an older program did not say.
    int64_t size_bytes = 0;

    bool operator==(const Entry&) const = default;
  };
  // Told before and after each step that a crash may come between; for tests.
  using Listener = std::function<void(absl::string_view step)>;

  // `file_system` must outlive this.
  explicit SnapshotFolder(
      std::string path, Listener listener = [](absl::string_view) {},
      FileSystem& file_system = FileSystem::Real())
      : path_(std::move(path)), listener_(std::move(listener)), file_system_(file_system) {}

  const std::string& path() const { return path_; }
  // As in `state list`: "0000000042-20260501T183000Z-0011223344556677.snapshot".
  static std::string NameOf(const Entry& entry);
  std::string PathOf(const Entry& entry) const;

  // All that are whole, newest first, of whatever store. None if there is no folder. Reason
  // STORAGE_IO.
  absl::StatusOr<std::vector<Entry>> List() const;
  // Those of this store, and those of which nobody knows whose they are.
  absl::StatusOr<std::vector<Entry>> ListOf(absl::string_view store) const;
  // Makes the folder, in a parent that exists; durable. Reasons STORAGE_FULL, STORAGE_IO.
  absl::Status Make() const;
  // Stores what `source` yields: whole and durable if this returns OK, else not there. Makes the
  // folder, in a parent that exists. What a Put() of this store left that was killed goes; that of
  // another store, which may be on its way, if nobody wrote to it for kPartAge. Leaves the last 64
  // MiB of the disk to others, as blobs do.
  // Errors: those of `source`; reasons STORAGE_FULL, STORAGE_IO.
  absl::StatusOr<Entry> Put(int64_t number, absl::Time time, const std::string& store,
                            ByteSource& source);
  // Opens one for reading. Errors: NotFound; reason STORAGE_IO.
  absl::StatusOr<std::unique_ptr<RandomAccess>> Open(const Entry& entry) const;
  absl::Status Remove(const Entry& entry);

  // Those of `entries`, which are one store's, newest first, that need not be kept: all but the
  // newest kKept, and the newest of each of the newest kKeptDays days (UTC) that have any.
  static std::vector<Entry> Expired(const std::vector<Entry>& entries);

 private:
  // What nobody goes on with since then, as far as it can be removed.
  void RemoveOldParts(absl::Time last_written) const;

  const std::string path_;
  const Listener listener_;
  FileSystem& file_system_;
};

// A file for reading. Errors: NotFound; InvalidArgument if it is no regular file; reason
// STORAGE_IO.
absl::StatusOr<std::unique_ptr<RandomAccess>> OpenFile(
    const std::string& path, FileSystem& file_system = FileSystem::Real());

}  // namespace backup::storage
