#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/unique_fd.h"

namespace backup::ctl::old_server {

// A file of the old server, open for reading. Thread-safe.
class StoredFile final : public RandomAccess {
 public:
  int64_t size_bytes() const override { return size_bytes_; }
  // When the old server wrote it.
  absl::Time change_time() const { return change_time_; }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override;

 private:
  friend class Folder;
  StoredFile(UniqueFd fd, int64_t size_bytes, absl::Time change_time)
      : fd_(std::move(fd)), size_bytes_(size_bytes), change_time_(change_time) {}

  const UniqueFd fd_;
  const int64_t size_bytes_;
  const absl::Time change_time_;
};

// The folder in which the old server kept files. Nothing in it is changed, and no symbolic link in
// it is followed, so that no name leads out of it. Thread-safe.
class Folder {
 public:
  // Bounds the memory and the time that it takes.
  static constexpr int kMaxFiles = 1'000'000;
  static constexpr int kMaxDepth = 32;

  // `path` is the folder "uploaded_files", or that which holds it. `database` is no file of clients
  // wherever it lies. NotFound if there is no such folder; else the error met.
  static absl::StatusOr<Folder> Open(const std::string& path, const std::string& database);

  // Where the file is that the old server wrote to `written`, with any separators and from wherever
  // it ran: its path in this folder. NotFound or FailedPrecondition, with a message that goes on
  // after the file's name, if there is none or it is no regular file.
  absl::StatusOr<std::string> Find(absl::string_view written) const;

  struct Entry {
    std::string path;  // In this folder, raw bytes.
    std::string why;   // Why it is no file to be taken over; empty if it is one.
  };
  // All that is in it, in the order of the paths. ResourceExhausted beyond kMaxFiles.
  absl::StatusOr<std::vector<Entry>> List() const;

  // `path` as Find() or List() told. Messages as of Find().
  absl::StatusOr<std::unique_ptr<StoredFile>> OpenFile(const std::string& path) const;

 private:
  Folder(UniqueFd root, std::string database)
      : root_(std::move(root)), database_(std::move(database)) {}

  // The folder at `components`; invalid, with errno, if that is none.
  UniqueFd OpenFolder(const std::vector<std::string>& components) const;
  absl::Status ListInto(int fd, const std::string& prefix, int depth,
                        std::vector<Entry>& entries) const;
  bool IsDatabase(int folder_fd, const std::string& name) const;

  UniqueFd root_;
  std::string database_;
};

}  // namespace backup::ctl::old_server
