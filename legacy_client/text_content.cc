#include "legacy_client/text_content.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "legacy_client/fields.h"

namespace backup::legacy_client {
namespace {

// What BASE64 encodes as a whole; HEX is content with it.
constexpr size_t kGroupSize = 3;

absl::string_view LineBreak(const bridge::v1::FileContent& form) {
  return form.text_line_break() == bridge::v1::FileContent::LINE_FEED ? "\n" : "\r\n";
}

}  // namespace

absl::StatusOr<absl::string_view> TextContent::Read() {
  text_.clear();
  while (text_.empty()) {
    ASSIGN_OR_RETURN(const absl::string_view piece, content_.Read());
    if (piece.empty()) {
      Encode(bytes_.size());
      EndText();
      break;
    }
    absl::StrAppend(&bytes_, piece);
    Encode(bytes_.size() / kGroupSize * kGroupSize);
  }
  return text_;
}

void TextContent::Encode(size_t size) {
  AppendLines(EncodeText(form_.text(), absl::string_view(bytes_).substr(0, size)));
  bytes_.erase(0, size);
}

void TextContent::AppendLines(absl::string_view text) {
  const size_t width = form_.text_line_width();
  while (width != 0 && !text.empty()) {
    if (column_ == width) {
      absl::StrAppend(&text_, LineBreak(form_));
      column_ = 0;
    }
    const absl::string_view line = text.substr(0, width - column_);
    absl::StrAppend(&text_, line);
    column_ += line.size();
    text.remove_prefix(line.size());
  }
  absl::StrAppend(&text_, text);
}

void TextContent::EndText() {
  if (column_ > 0 && !form_.text_ends_without_line_break())
    absl::StrAppend(&text_, LineBreak(form_));
  column_ = 0;
}

int64_t ContentTextSize(const bridge::v1::FileContent& form, int64_t size) {
  const int64_t characters = TextSize(form.text(), size);
  const int64_t width = form.text_line_width();
  if (width == 0 || characters == 0) return characters;
  const int64_t breaks =
      (characters + width - 1) / width - (form.text_ends_without_line_break() ? 1 : 0);
  return characters + breaks * static_cast<int64_t>(LineBreak(form).size());
}

}  // namespace backup::legacy_client
