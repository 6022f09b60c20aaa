#include "storage/snapshot_folder.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/direct_file.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "storage/space_reserve.h"

namespace backup::storage {
namespace {

constexpr absl::string_view kSuffix = ".snapshot";
constexpr absl::string_view kTimeFormat = "%E4Y%m%dT%H%M%SZ";
constexpr size_t kNumberSize = 10;
// What is on its way; of each store one at a time.
constexpr absl::string_view kPart = "incoming";
constexpr absl::string_view kPartSuffix = ".part";

absl::Status IoError(absl::string_view doing, const std::string& path) {
  const int error = errno;
  const std::string what = absl::StrCat("cannot ", doing, " ", path, ": ", strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == EFBIG)
    return MakeError(Reason::kStorageFull, absl::StrCat("free disk space: ", what), "snapshots");
  return MakeError(Reason::kStorageIo, what, "snapshots");
}

std::optional<SnapshotFolder::Entry> ParseName(absl::string_view name) {
  SnapshotFolder::Entry entry;
  std::string error;
  if (!absl::ConsumeSuffix(&name, kSuffix) || name.size() <= kNumberSize + 1 ||
      name[kNumberSize] != '-' || !absl::SimpleAtoi(name.substr(0, kNumberSize), &entry.number)) {
    return std::nullopt;
  }
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(name.substr(kNumberSize + 1), absl::MaxSplits('-', 1));
  if (!absl::ParseTime(kTimeFormat, parts.first, &entry.time, &error)) return std::nullopt;
  entry.store = std::string(parts.second);
  return entry;
}

// A new file, durable once Finish() returns OK.
class NewFile final : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(FileSystem& file_system,
                                                         const std::string& path) {
    std::unique_ptr<File> file = file_system.Create(path, O_DIRECT);
    if (file == nullptr) return IoError("create", path);
    const std::optional<DiskSpace> disk = file->Disk();
    if (!disk) return IoError("ask for free space of", path);
    const int64_t reserve_bytes = SpaceReserve::SizeFor(disk->total_bytes);
    return std::unique_ptr<NewFile>(new NewFile(path, std::move(file), reserve_bytes));
  }
  absl::Status Write(absl::string_view piece) override {
    return file_.Write(piece) ? absl::OkStatus() : IoError("write", path_);
  }
  absl::Status Finish() {
    return file_.Flush() && file_.Sync() ? absl::OkStatus() : IoError("write", path_);
  }
  int64_t size_bytes() const { return file_.written_bytes(); }

 private:
  NewFile(std::string path, std::unique_ptr<File> file, int64_t reserve_bytes)
      : path_(std::move(path)), file_(std::move(file), reserve_bytes) {}

  const std::string path_;
  DirectFile file_;
};

class FileAccess final : public RandomAccess {
 public:
  FileAccess(std::string path, std::unique_ptr<File> file, int64_t size_bytes)
      : path_(std::move(path)), file_(std::move(file)), size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = file_->ReadAt(offset + static_cast<int64_t>(done), out.subspan(done));
      if (got < 0) return IoError("read", path_);
      if (got == 0) return absl::DataLossError(absl::StrCat(path_, " became shorter"));
      done += static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const std::unique_ptr<File> file_;
  const int64_t size_bytes_;
};

}  // namespace

std::string SnapshotFolder::NameOf(const Entry& entry) {
  return absl::StrCat(absl::StrFormat("%010d-", entry.number),
                      absl::FormatTime(kTimeFormat, entry.time, absl::UTCTimeZone()),
                      entry.store.empty() ? "" : "-", entry.store, kSuffix);
}

std::string SnapshotFolder::PathOf(const Entry& entry) const {
  return absl::StrCat(path_, "/", NameOf(entry));
}

absl::StatusOr<std::vector<SnapshotFolder::Entry>> SnapshotFolder::List() const {
  std::vector<Entry> entries;
  const bool is_listed = file_system_.List(path_, [&](const FileSystem::Entry& found) {
    std::optional<Entry> entry = ParseName(found.name);
    if (!entry) return true;
    entry->size_bytes = found.size_bytes;
    entries.push_back(*entry);
    return true;
  });
  if (!is_listed && errno == ENOENT) return entries;
  if (!is_listed) return IoError("list", path_);
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.number > b.number; });
  return entries;
}

absl::StatusOr<std::vector<SnapshotFolder::Entry>> SnapshotFolder::ListOf(
    absl::string_view store) const {
  ASSIGN_OR_RETURN(std::vector<Entry> entries, List());
  entries.erase(std::remove_if(entries.begin(), entries.end(),
                               [&](const Entry& entry) {
                                 return !entry.store.empty() && entry.store != store;
                               }),
                entries.end());
  return entries;
}

absl::Status SnapshotFolder::Make() const {
  const bool is_made = file_system_.MakeFolder(path_);
  if (!is_made && errno != EEXIST) return IoError("make the folder", path_);
  const std::string parent = absl::StrCat(path_, "/..");
  if (file_system_.SyncFolder(parent)) return absl::OkStatus();
  // Who made one that is there may have been killed before this; or it is somebody else's, in a
  // folder that this process may not touch.
  const bool may_not = errno == EACCES || errno == EPERM || errno == EROFS;
  return may_not && !is_made ? absl::OkStatus() : IoError("sync", parent);
}

void SnapshotFolder::RemoveOldParts(absl::Time last_written) const {
  file_system_.List(path_, [&](const FileSystem::Entry& found) {
    if (absl::StartsWith(found.name, kPart) && absl::EndsWith(found.name, kPartSuffix) &&
        found.change_time < last_written)
      file_system_.Remove(absl::StrCat(path_, "/", found.name));
    return true;
  });
}

absl::StatusOr<SnapshotFolder::Entry> SnapshotFolder::Put(int64_t number, absl::Time time,
                                                          const std::string& store,
                                                          ByteSource& source) {
  RETURN_IF_ERROR(Make());
  const std::string part =
      absl::StrCat(path_, "/", kPart, store.empty() ? "" : "-", store, kPartSuffix);
  file_system_.Remove(part);  // Of a process that was killed.
  RemoveOldParts(SystemClock().Now() - kPartAge);
  absl::Cleanup remove_part = [&] { file_system_.Remove(part); };
  listener_("snapshot is begun");
  Entry entry = {number, absl::FromUnixSeconds(absl::ToUnixSeconds(time)), store};
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file, NewFile::Create(file_system_, part));
    RETURN_IF_ERROR(CopyAll(source, *file).status());
    listener_("snapshot is written");
    RETURN_IF_ERROR(file->Finish());
    entry.size_bytes = file->size_bytes();
  }
  listener_("snapshot is synced");
  const std::string path = PathOf(entry);
  if (!file_system_.Rename(part, path)) return IoError("rename", path);
  std::move(remove_part).Cancel();
  listener_("snapshot has its name");
  if (!file_system_.SyncFolder(path_)) return IoError("sync", path_);
  listener_("snapshot is durable");
  return entry;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> SnapshotFolder::Open(const Entry& entry) const {
  return OpenFile(PathOf(entry), file_system_);
}

absl::Status SnapshotFolder::Remove(const Entry& entry) {
  const std::string path = PathOf(entry);
  listener_("snapshot is to be removed");
  if (!file_system_.Remove(path) && errno != ENOENT) return IoError("remove", path);
  return absl::OkStatus();
}

std::vector<SnapshotFolder::Entry> SnapshotFolder::Expired(const std::vector<Entry>& entries) {
  std::vector<Entry> expired;
  std::set<absl::CivilDay> days;
  int seen = 0;
  for (const Entry& entry : entries) {
    const absl::CivilDay day = absl::ToCivilDay(entry.time, absl::UTCTimeZone());
    const bool is_newest_of_its_day = !days.contains(day) && std::ssize(days) < kKeptDays;
    if (is_newest_of_its_day) days.insert(day);
    if (++seen > kKept && !is_newest_of_its_day) expired.push_back(entry);
  }
  return expired;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> OpenFile(const std::string& path,
                                                       FileSystem& file_system) {
  std::unique_ptr<File> file = file_system.Open(path, /*flags=*/0);
  if (file == nullptr && errno == ENOENT)
    return absl::NotFoundError(absl::StrCat("there is no file ", path));
  const std::optional<int64_t> size_bytes = file == nullptr ? std::nullopt : file->SizeBytes();
  if (file != nullptr && !size_bytes && errno == EINVAL)
    return absl::InvalidArgumentError(absl::StrCat(path, " is no regular file"));
  if (!size_bytes) return IoError("open", path);
  return std::make_unique<FileAccess>(path, std::move(file), *size_bytes);
}

}  // namespace backup::storage
