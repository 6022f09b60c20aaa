#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "base/file_system.h"
#include "base/mutex.h"

namespace backup::testing {

// A file system in memory that fails when it is told to, and of which a crash leaves what a disk
// may have then. The seed decides all that is left to chance. Paths are absolute; no links but hard
// ones; nothing was ever changed after 1970. A file that is made with O_DIRECT takes only what is
// aligned to sectors until UsePageCache(): EINVAL. Thread-safe.
class FaultFileSystem final : public FileSystem {
 public:
  // What a crash takes away of what was not synced: of each file its bytes, of each folder which
  // names are in it.
  enum class Loss {
    kNothing,     // As if only the process had been killed.
    kEverything,  // Up to the last sync, nothing of what followed is there.
    // Each change of a name on its own; of each write, too, all or some of its sectors, in any
    // order, or none, whether the file has become longer by it or not.
    kAny,
  };
  static constexpr int64_t kSectorSize = 512;

  explicit FaultFileSystem(uint64_t seed);

  // The `nth` call from now on, from 1, of this file system or its files, fails with this errno; if
  // it is a write, perhaps after a part of it. After a sync that failed so, what it was to sync may
  // be lost whatever is synced later.
  void FailNth(int nth, int error) ABSL_LOCKS_EXCLUDED(mutex_);
  // So do all that follow it.
  void FailFromNth(int nth, int error) ABSL_LOCKS_EXCLUDED(mutex_);
  // The process ends in that call, which may have had its effect or not: all that follow it fail
  // and change nothing. Goes on with Restart().
  void StopAtNth(int nth) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether there were as many calls.
  bool has_struck() const ABSL_LOCKS_EXCLUDED(mutex_);
  // No call fails any more, until it is told so again.
  void Heal() ABSL_LOCKS_EXCLUDED(mutex_);

  // Crashes, if it has not yet, and begins anew with what is left. Files that were open stay
  // unusable. `kept_of_last_write`, if given: so many bytes at most of the last one that was not
  // synced are there, whatever else is.
  void Restart(Loss loss, std::optional<int64_t> kept_of_last_write = std::nullopt)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Of the last write that was not synced, in bytes; 0 if there is none.
  int64_t LastWriteSize() const ABSL_LOCKS_EXCLUDED(mutex_);
  // As many bytes as all files can have at most: ENOSPC. A write takes what there is first.
  void SetCapacity(int64_t total_bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // From now on RenameToNew() cannot be, as on NFS: EINVAL.
  void ForgetRenameToNew() ABSL_LOCKS_EXCLUDED(mutex_);

  std::unique_ptr<File> Create(const std::string& path, int flags) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::unique_ptr<File> Open(const std::string& path, int flags) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool Rename(const std::string& from, const std::string& to) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool RenameToNew(const std::string& from, const std::string& to) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool Link(const std::string& from, const std::string& to) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool Remove(const std::string& path) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool MakeFolder(const std::string& path) override ABSL_LOCKS_EXCLUDED(mutex_);
  bool List(const std::string& path, const std::function<bool(const Entry&)>& visit) override
      ABSL_LOCKS_EXCLUDED(mutex_);
  bool SyncFolder(const std::string& path) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class OpenFile;
  struct Node;
  using NodePtr = std::shared_ptr<Node>;
  using Names = std::map<std::string, NodePtr>;
  // What becomes of a call: it has its effect or not, and says so or not.
  enum class Fate { kWorks, kFails, kStopsAfterIt };
  // Of a change. An abandoned one is of a sync that failed: no later sync makes it durable.
  enum class Standing { kUnsynced, kSynced, kAbandoned };

  struct FileChange {
    enum class Kind { kWrite, kSize, kZeros };
    Kind kind = Kind::kWrite;
    int64_t offset = 0;  // Of kSize: the size.
    std::string bytes;   // Of kSize: none.
    int64_t number = 0;  // They are counted, in all files.
    Standing standing = Standing::kUnsynced;
  };
  struct NameChange {
    std::string name;
    NodePtr node;  // Null: there is none any more.
    Standing standing = Standing::kUnsynced;
  };
  // A file or a folder.
  struct Node {
    bool is_folder = false;
    int uses = 0;  // As a name, or open. Without any a file takes no space.
    // Of a file: as everybody sees it; as it is on the medium but for `changes`, of which the
    // first one is not synced.
    std::string bytes;
    std::string durable_bytes;
    std::vector<FileChange> changes;
    // The same of a folder.
    Names names;
    Names durable_names;
    std::vector<NameChange> name_changes;
  };
  struct Place {
    NodePtr folder;
    std::string name;
  };

  // Sets errno if it fails.
  Fate Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What a call returns that had its effect.
  static bool Told(Fate fate);
  bool Coin() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return (random_() & 1) != 0; }
  // At most so many.
  int64_t UpTo(int64_t most) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Null, with ENOENT or ENOTDIR, if there is none.
  NodePtr Find(absl::string_view path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Place> PlaceOf(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void SetName(Node& folder, const std::string& name, NodePtr node);
  bool Move(const std::string& from, const std::string& to, bool replaces)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Of files. How many of the bytes were taken.
  int64_t Write(Node& file, int64_t offset, absl::string_view bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Change(Node& file, FileChange::Kind kind, int64_t offset, std::string bytes = "")
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Apply(const FileChange& change, std::string& bytes);
  static void Apply(const NameChange& change, Names& names);
  template <typename Changes, typename State>
  static void SyncChanges(Changes& changes, State& durable);
  static void Sync(Node& node);
  static void AbandonChanges(Node& node);
  int64_t FreeBytes() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // What a crash leaves.
  void CrashFolder(Node& folder, Loss loss, std::optional<int64_t> kept_of_last_write)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CrashFile(Node& file, Loss loss, std::optional<int64_t> kept_of_last_write)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Survives(Standing standing, Loss loss) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplySome(const FileChange& change, std::string& bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::mt19937_64 random_ ABSL_GUARDED_BY(mutex_);
  NodePtr root_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<Node>> files_ ABSL_GUARDED_BY(mutex_);
  int64_t capacity_bytes_ ABSL_GUARDED_BY(mutex_);
  bool knows_rename_to_new_ ABSL_GUARDED_BY(mutex_) = true;
  int64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;  // Of files, ever.
  int64_t last_write_ ABSL_GUARDED_BY(mutex_) = 0;
  int starts_ ABSL_GUARDED_BY(mutex_) = 0;  // Files of an earlier one are unusable.
  // The fault that is to come.
  enum class Fault { kNone, kOnce, kFromThen, kStop };
  Fault fault_ ABSL_GUARDED_BY(mutex_) = Fault::kNone;
  int left_ ABSL_GUARDED_BY(mutex_) = 0;  // Calls until then, that one included.
  int error_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace backup::testing
