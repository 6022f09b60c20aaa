#include "storage/snapshot_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

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
#include "base/unique_fd.h"
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

absl::Status SyncFolder(const std::string& path) {
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return IoError("sync", path);
  return absl::OkStatus();
}

absl::Status MakeFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0) return SyncFolder(absl::StrCat(path, "/.."));
  return errno == EEXIST ? absl::OkStatus() : IoError("make the folder", path);
}

// A new file, durable once Finish() returns OK.
class NewFile final : public ByteSink {
 public:
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(const std::string& path) {
    std::unique_ptr<File> file = FileSystem::Real().Create(path, O_DIRECT);
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
  FileAccess(std::string path, UniqueFd fd, int64_t size_bytes)
      : path_(std::move(path)), fd_(std::move(fd)), size_bytes_(size_bytes) {}
  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = ::pread(fd_.get(), out.data() + done, out.size() - done,
                                  offset + static_cast<int64_t>(done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return IoError("read", path_);
      if (got == 0) return absl::DataLossError(absl::StrCat(path_, " became shorter"));
      done += static_cast<size_t>(got);
    }
    return absl::OkStatus();
  }

 private:
  const std::string path_;
  const UniqueFd fd_;
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
  DIR* const listing = ::opendir(path_.c_str());
  if (listing == nullptr && errno == ENOENT) return entries;
  if (listing == nullptr) return IoError("list", path_);
  const absl::Cleanup close = [&] { ::closedir(listing); };
  while (true) {
    errno = 0;
    const dirent* const found = ::readdir(listing);
    if (found == nullptr && errno != 0) return IoError("list", path_);
    if (found == nullptr) break;
    std::optional<Entry> entry = ParseName(found->d_name);
    struct stat info = {};
    if (!entry || ::fstatat(::dirfd(listing), found->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    entry->size_bytes = info.st_size;
    entries.push_back(*entry);
  }
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

absl::Status SnapshotFolder::Make() const { return MakeFolder(path_); }

void SnapshotFolder::RemoveOldParts(absl::Time last_written) const {
  DIR* const listing = ::opendir(path_.c_str());
  if (listing == nullptr) return;
  const absl::Cleanup close = [&] { ::closedir(listing); };
  while (const dirent* const found = ::readdir(listing)) {
    struct stat info = {};
    if (!absl::StartsWith(found->d_name, kPart) || !absl::EndsWith(found->d_name, kPartSuffix) ||
        ::fstatat(::dirfd(listing), found->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (absl::TimeFromTimespec(info.st_mtim) < last_written)
      ::unlinkat(::dirfd(listing), found->d_name, 0);
  }
}

absl::StatusOr<SnapshotFolder::Entry> SnapshotFolder::Put(int64_t number, absl::Time time,
                                                          const std::string& store,
                                                          ByteSource& source) {
  RETURN_IF_ERROR(Make());
  const std::string part =
      absl::StrCat(path_, "/", kPart, store.empty() ? "" : "-", store, kPartSuffix);
  ::unlink(part.c_str());  // Of a process that was killed.
  RemoveOldParts(SystemClock().Now() - kPartAge);
  absl::Cleanup remove_part = [&] { ::unlink(part.c_str()); };
  listener_("snapshot is begun");
  Entry entry = {number, absl::FromUnixSeconds(absl::ToUnixSeconds(time)), store};
  {
    ASSIGN_OR_RETURN(const std::unique_ptr<NewFile> file, NewFile::Create(part));
    RETURN_IF_ERROR(CopyAll(source, *file).status());
    listener_("snapshot is written");
    RETURN_IF_ERROR(file->Finish());
    entry.size_bytes = file->size_bytes();
  }
  listener_("snapshot is synced");
  const std::string path = PathOf(entry);
  if (::rename(part.c_str(), path.c_str()) != 0) return IoError("rename", path);
  std::move(remove_part).Cancel();
  listener_("snapshot has its name");
  RETURN_IF_ERROR(SyncFolder(path_));
  listener_("snapshot is durable");
  return entry;
}

absl::StatusOr<std::unique_ptr<RandomAccess>> SnapshotFolder::Open(const Entry& entry) const {
  return OpenFile(PathOf(entry));
}

absl::Status SnapshotFolder::Remove(const Entry& entry) {
  const std::string path = PathOf(entry);
  listener_("snapshot is to be removed");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return IoError("remove", path);
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

absl::StatusOr<std::unique_ptr<RandomAccess>> OpenFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() && errno == ENOENT)
    return absl::NotFoundError(absl::StrCat("there is no file ", path));
  struct stat info = {};
  if (!fd.valid() || ::fstat(fd.get(), &info) != 0) return IoError("open", path);
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat(path, " is no regular file"));
  return std::make_unique<FileAccess>(path, std::move(fd), info.st_size);
}

}  // namespace backup::storage
