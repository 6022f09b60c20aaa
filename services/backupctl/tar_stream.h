#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/byte_stream.h"

struct archive;

namespace backup::ctl {

// Writes regular files as a tar archive (pax: any names, any size) that every tar reads. After an
// error, or without Finish(), the archive has no end, which readers notice. Used by one thread at a
// time.
class TarStream final : public ByteSink {
 public:
  // `sink` must outlive it.
  static absl::StatusOr<std::unique_ptr<TarStream>> Open(ByteSink& sink);
  ~TarStream() override;

  // Begins a file of exactly `size_bytes` bytes, which Write() takes; `path` may have any bytes.
  // Only its owner may read it.
  absl::Status BeginFile(const std::string& path, int64_t size_bytes, absl::Time time);
  absl::Status Write(absl::string_view piece) override;
  // Internal if it did not get all its bytes.
  absl::Status EndFile();
  // Ends the archive.
  absl::Status Finish();

 private:
  TarStream(archive* archive, ByteSink& sink) : archive_(archive), sink_(sink) {}
  // For libarchive, which gets -1 on failure.
  static ssize_t WriteOut(archive* archive, void* self, const void* bytes, size_t size);
  // OK if `result` is.
  absl::Status Check(int64_t result) const;

  archive* const archive_;
  ByteSink& sink_;
  absl::Status status_;  // What the sink failed with.
  int64_t left_bytes_ = 0;
};

}  // namespace backup::ctl
