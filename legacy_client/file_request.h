#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "legacy_client/file_plan.h"

namespace backup::legacy_client {

// All the bytes of a file's requests: heads, content and padding, as the plan has them. Used by one
// thread at a time.
class FileRequest final : public ByteSource {
 public:
  // `content` must yield exactly what `plan` makes of it, or fail.
  FileRequest(const FilePlan& plan, ByteSource& content) : plan_(plan), content_(content) {}

  // An error of the content is returned as it is.
  absl::StatusOr<absl::string_view> Read() override;

  // Of the content, how much has been handed out.
  int64_t content_taken() const { return content_taken_; }

 private:
  absl::StatusOr<absl::string_view> ReadContent();
  absl::string_view ReadPadding();

  const FilePlan& plan_;
  ByteSource& content_;
  int64_t next_part_ = 0;
  std::optional<FilePart> part_;
  absl::string_view piece_;  // Of the content, what has been read and not yet handed out.
  int64_t content_taken_ = 0;
};

}  // namespace backup::legacy_client
