#include "base/durable_file.h"

#include <cerrno>
#include <filesystem>
#include <memory>
#include <span>

#include "absl/strings/str_cat.h"

namespace backup {
namespace {

bool WriteNew(const std::string& path, absl::string_view text, FileSystem& file_system) {
  const std::unique_ptr<File> file = file_system.Create(path, /*flags=*/0);
  if (file == nullptr) return false;
  int64_t offset = 0;
  while (!text.empty()) {
    const ssize_t written = file->WriteAt(offset, text);
    if (written <= 0) {
      if (written == 0) errno = EIO;
      return false;
    }
    text.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return file->Sync();
}

std::string FolderOf(const std::string& path) {
  return std::filesystem::path("." / std::filesystem::path(path)).parent_path();
}

}  // namespace

bool ReplaceFile(const std::string& path, absl::string_view text, FileSystem& file_system) {
  const std::string beside = absl::StrCat(path, ".new");
  file_system.Remove(beside);
  if (!WriteNew(beside, text, file_system) || !file_system.Rename(beside, path)) {
    const int error = errno;
    file_system.Remove(beside);
    errno = error;
    return false;
  }
  return file_system.SyncFolder(FolderOf(path));
}

bool MakeFileIfMissing(const std::string& path, absl::string_view text, absl::string_view id,
                       FileSystem& file_system) {
  const std::string beside = absl::StrCat(path, ".new.", id);
  const bool is_there =
      WriteNew(beside, text, file_system) && (file_system.Link(beside, path) || errno == EEXIST);
  const int error = errno;
  file_system.Remove(beside);
  errno = error;
  // Also of one that is another's: it is used from now on.
  return is_there && file_system.SyncFolder(FolderOf(path));
}

std::optional<std::string> ReadSmallFile(const std::string& path, size_t max_size,
                                         FileSystem& file_system) {
  const std::unique_ptr<File> file = file_system.Open(path, /*flags=*/0);
  if (file == nullptr) return std::nullopt;
  std::string text(max_size, '\0');
  size_t size = 0;
  while (size < max_size) {
    const ssize_t got =
        file->ReadAt(static_cast<int64_t>(size), std::span<char>(text).subspan(size));
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace backup
