#include "services/backupctl/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>

#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/backupctl/utf8_scope.h"

namespace backup::ctl {
namespace {

constexpr mode_t kFileMode = 0600;

}  // namespace

absl::StatusOr<std::unique_ptr<TarStream>> TarStream::Open(ByteSink& sink) {
  std::unique_ptr<TarStream> tar(new TarStream(::archive_write_new(), sink));
  archive* const out = tar->archive_;
  RETURN_IF_ERROR(tar->Check(::archive_write_set_format_pax(out)));
  // Nothing waits for a block to be full.
  RETURN_IF_ERROR(tar->Check(::archive_write_set_bytes_per_block(out, 0)));
  RETURN_IF_ERROR(
      tar->Check(::archive_write_open(out, tar.get(), nullptr, &TarStream::WriteOut, nullptr)));
  return tar;
}

TarStream::~TarStream() {
  // So that no end is written.
  if (status_.ok()) status_ = absl::CancelledError("the archive is not finished");
  // By itself libarchive does not close, and keeps its buffer, after an error.
  ::archive_write_close(archive_);
  ::archive_write_free(archive_);
}

absl::Status TarStream::BeginFile(const std::string& path, int64_t size_bytes, absl::Time time) {
  const std::unique_ptr<archive_entry, decltype(&::archive_entry_free)> entry(
      ::archive_entry_new(), &::archive_entry_free);
  const timespec changed = absl::ToTimespec(time);
  // Names of UTF-8 are written as such, others as bytes, with a note which GNU tar remarks on.
  const Utf8Scope names_are_utf8;
  ::archive_entry_set_pathname(entry.get(), path.c_str());
  ::archive_entry_set_size(entry.get(), size_bytes);
  ::archive_entry_set_filetype(entry.get(), AE_IFREG);
  ::archive_entry_set_perm(entry.get(), kFileMode);
  ::archive_entry_set_mtime(entry.get(), changed.tv_sec, changed.tv_nsec);
  left_bytes_ = size_bytes;
  return Check(::archive_write_header(archive_, entry.get()));
}

absl::Status TarStream::Write(absl::string_view piece) {
  left_bytes_ -= std::ssize(piece);
  if (left_bytes_ < 0) return absl::InternalError("a file in the archive has too many bytes");
  const la_ssize_t written = ::archive_write_data(archive_, piece.data(), piece.size());
  return Check(written);
}

absl::Status TarStream::EndFile() {
  if (left_bytes_ != 0) return absl::InternalError("a file in the archive has too few bytes");
  return Check(::archive_write_finish_entry(archive_));
}

absl::Status TarStream::Finish() { return Check(::archive_write_close(archive_)); }

ssize_t TarStream::WriteOut(archive*, void* self, const void* bytes, size_t size) {
  auto& tar = *static_cast<TarStream*>(self);
  if (!tar.status_.ok()) return -1;
  tar.status_ = tar.sink_.Write(absl::string_view(static_cast<const char*>(bytes), size));
  return tar.status_.ok() ? static_cast<ssize_t>(size) : -1;
}

absl::Status TarStream::Check(int64_t result) const {
  if (!status_.ok()) return status_;
  if (result >= ARCHIVE_WARN) return absl::OkStatus();
  const char* const error = ::archive_error_string(archive_);
  return absl::InternalError(
      absl::StrCat("cannot write the archive: ", error == nullptr ? "out of memory" : error));
}

}  // namespace backup::ctl
