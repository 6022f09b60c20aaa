#include "bridge/upload/text_body.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/hex.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

using wire::TextEncoding;

constexpr absl::string_view kHexDigits = "0123456789abcdefABCDEF";
constexpr absl::string_view kBase64Characters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// How many characters are decoded together.
size_t GroupOf(TextEncoding text) { return text == TextEncoding::kHex ? 2 : 4; }

absl::string_view NameOf(TextEncoding text) {
  return text == TextEncoding::kHex ? "hexadecimal" : "Base64";
}

}  // namespace

absl::Status TextDecoder::Append(absl::string_view piece, std::string& out) {
  std::string joined;
  if (has_lines_) {
    joined = absl::StrReplaceAll(piece, {{"\r", ""}, {"\n", ""}});
    piece = joined;
  }
  RETURN_IF_ERROR(TakeCharacters(piece));
  undecoded_.append(piece.data(), piece.size());
  const size_t whole = undecoded_.size() - undecoded_.size() % GroupOf(text_);
  const absl::string_view groups = absl::string_view(undecoded_).substr(0, whole);
  if (text_ == TextEncoding::kHex) {
    out += HexToBytes(groups).value();  // Its characters were looked at.
  } else {
    std::string bytes;
    if (!absl::Base64Unescape(groups, &bytes))
      return absl::InvalidArgumentError("the content is no Base64");
    out += bytes;
  }
  undecoded_.erase(0, whole);
  return absl::OkStatus();
}

absl::Status TextDecoder::TakeCharacters(absl::string_view piece) {
  const absl::string_view known = text_ == TextEncoding::kHex ? kHexDigits : kBase64Characters;
  size_t good = has_ended_ ? 0 : std::min(piece.find_first_not_of(known), piece.size());
  for (; good < piece.size(); ++good) {
    // Only padding, which fills a group up that has two characters or three.
    const bool is_padding =
        text_ == TextEncoding::kBase64 && piece[good] == '=' && (offset_ + good) % 4 >= 2;
    if (!is_padding) {
      return absl::InvalidArgumentError(
          absl::StrCat("the content is no ", NameOf(text_), ": character ",
                       static_cast<unsigned char>(piece[good]), " at offset ", offset_ + good));
    }
    has_ended_ = true;
  }
  offset_ += piece.size();
  return absl::OkStatus();
}

absl::Status TextDecoder::Finish() const {
  if (undecoded_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the content is no ", NameOf(text_), ": it ends at offset ", offset_,
                   ", where no group of ", GroupOf(text_), " characters does"));
}

absl::StatusOr<absl::string_view> TextBody::Read() {
  if (status_.ok()) status_ = Fill();
  if (!status_.ok()) return status_;
  return buffer_;
}

absl::Status TextBody::Fill() {
  buffer_.clear();
  while (buffer_.empty() && body_->left() > 0) {
    ASSIGN_OR_RETURN(const absl::string_view piece, body_->Read());
    RETURN_IF_ERROR(decoder_.Append(piece, buffer_));
    if (body_->left() == 0) RETURN_IF_ERROR(decoder_.Finish());
  }
  return absl::OkStatus();
}

}  // namespace backup::bridge
