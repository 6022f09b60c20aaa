#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"
#include "base/direct_file.h"
#include "base/unique_fd.h"

namespace backup::ctl {

// A regular file to be read at any place. Thread-safe.
class LocalFile final : public RandomAccess {
 public:
  // NotFound if there is no such file; InvalidArgument if it is not a regular file; else the error
  // met.
  static absl::StatusOr<std::unique_ptr<LocalFile>> Open(const std::string& path);

  // The size it had when it was opened.
  int64_t size_bytes() const override { return size_bytes_; }
  absl::Status ReadAt(int64_t offset, std::span<char> out) const override;

 private:
  LocalFile(UniqueFd fd, std::string path, int64_t size_bytes)
      : fd_(std::move(fd)), path_(std::move(path)), size_bytes_(size_bytes) {}

  const UniqueFd fd_;
  const std::string path_;
  const int64_t size_bytes_;
};

// A new file that appears under its name only when it is whole: it is written beside and renamed,
// or else removed. Readable for its owner only. Blocks of zeros become holes. Used by one thread at
// a time.
class OutputFile final : public ByteSink {
 public:
  // In the folder that `folder_fd` is open on. Space for `expected_size` bytes is set aside, if the
  // file is large and there is so much; with holes it may need less.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Create(int folder_fd, int64_t expected_size);
  ~OutputFile() override;

  absl::Status Write(absl::string_view piece) override;
  void LetPiecesLast(size_t pieces) override { file_.LetPiecesLast(pieces); }
  // Makes the bytes durable.
  absl::Status Sync();
  // Puts it in place as `name`, one component, in the folder that `folder_fd` is open on, which
  // must be on the same file system, as changed at `time` (as far as the file system knows such
  // times). Follows no symbolic link. `replace` allows it to take the place of a file or link.
  // AlreadyExists if the name is taken by something else; then it can be tried again.
  absl::Status Commit(int folder_fd, const std::string& name, bool replace, absl::Time time);

 private:
  OutputFile(UniqueFd folder, std::unique_ptr<File> file, std::string part_name)
      : folder_(std::move(folder)),
        fd_(file->descriptor()),
        file_(std::move(file)),
        part_name_(std::move(part_name)) {}

  const UniqueFd folder_;
  const int fd_;  // What file_ owns. Locked, so that others see that somebody writes.
  DirectFile file_;
  std::string part_name_;  // Empty once it is in place.
  int64_t size_bytes_ = 0;
};

// Whether an OutputFile that is not in place yet may be called so, so that no other file should be.
bool IsPartName(absl::string_view name);

// Removes what an OutputFile of a process that was killed left in the folder that `folder_fd` is
// open on: files of this user with such names that nobody writes. Returns how many. What cannot be
// removed stays.
int RemoveLeftOverParts(int folder_fd);

// From now on what this process makes is for its user only, whatever umask it inherited. For the
// start of a command, while there is one thread.
void MakeFilesPrivate();

// An open folder and the name of a file in it.
struct FilePlace {
  UniqueFd folder;
  std::string name;
  std::string path;  // As the user knows it.
};

// The place that `path` means; if it is a folder, the place of `default_name` in it. NotFound if
// its folder does not exist; AlreadyExists if something is there, unless `replace`.
absl::StatusOr<FilePlace> FindPlace(const std::string& path, const std::string& default_name,
                                    bool replace);

}  // namespace backup::ctl
