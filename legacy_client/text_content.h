#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "legacy_client/dialect_file.h"

namespace backup::legacy_client {

// A content as text. Used by one thread at a time.
class TextContent final : public ByteSource {
 public:
  // `form` says how. Both must outlive this.
  TextContent(ByteSource& content, const bridge::v1::FileContent& form)
      : content_(content), form_(form) {}

  // An error of the content is returned as it is.
  absl::StatusOr<absl::string_view> Read() override;

 private:
  void Encode(size_t size);
  void AppendLines(absl::string_view text);
  void EndText();

  ByteSource& content_;
  const bridge::v1::FileContent& form_;
  std::string bytes_;  // Not encoded yet.
  std::string text_;
  size_t column_ = 0;  // Characters in the present line.
};

// How many characters `size` bytes of content become, with their line breaks.
int64_t ContentTextSize(const bridge::v1::FileContent& form, int64_t size);

}  // namespace backup::legacy_client
