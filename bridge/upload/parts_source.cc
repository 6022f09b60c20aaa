#include "bridge/upload/parts_source.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/name_text.h"
#include "base/status_macros.h"

namespace backup::bridge {
namespace {

void AppendSize(uint32_t size, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(size >> shift));
}

absl::Status ComesBetween(uint32_t code) {
  return absl::InvalidArgumentError(
      absl::StrCat("request ", code, " comes between the parts of a file"));
}

}  // namespace

PartsSource::PartsSource(const PartsInput& input, const wire::DecodedHead& first)
    : input_(input),
      first_(first),
      first_file_(std::get<wire::SendFile>(first_.request.operation)) {}

absl::StatusOr<absl::string_view> PartsSource::Read() {
  buffer_.clear();
  if (status_.ok()) status_ = Fill();
  if (!status_.ok()) return status_;
  return buffer_;
}

uint64_t PartsSource::left() const {
  if (!part_ && is_last()) return 0;
  return std::max<uint64_t>(part_ ? part_->left() : 0, 1);
}

absl::Status PartsSource::Fill() {
  const MonotonicTime begin = MonotonicClock::now();
  while (left() > 0 && buffer_.size() < kPieceSize) {
    RETURN_IF_ERROR(TakePiece());
    RETURN_IF_ERROR(CheckRate(waited_ + absl::FromChrono(MonotonicClock::now() - begin)));
  }
  waited_ += absl::FromChrono(MonotonicClock::now() - begin);
  return absl::OkStatus();
}

// BodySource sees to it within a part.
absl::Status PartsSource::CheckRate(absl::Duration waited) {
  const double least = absl::ToDoubleSeconds(waited) * input_.limits.least_bytes_per_second;
  if (waited < input_.limits.window || static_cast<double>(received_bytes_) >= least)
    return absl::OkStatus();
  return absl::DeadlineExceededError(absl::StrCat(
      "the client sent ", received_bytes_, " bytes in parts in ", absl::FormatDuration(waited)));
}

absl::Status PartsSource::TakePiece() {
  if (!part_) return BeginNext();
  if (std::exchange(segment_begins_, false))
    AppendSize(static_cast<uint32_t>(content_left_), buffer_);
  ASSIGN_OR_RETURN(const absl::string_view piece, part_->Read());
  received_bytes_ += piece.size();
  const uint64_t body = std::min<uint64_t>(piece.size(), body_left_);
  const size_t content = std::min(body, content_left_);
  buffer_.append(piece.data(), content);
  body_left_ -= body;
  content_left_ -= content;
  if (part_->left() > 0) return absl::OkStatus();
  part_.reset();
  return EndPart();
}

std::unique_ptr<BodySource> PartsSource::OpenPart(uint64_t message_size, uint64_t body_size) const {
  const uint64_t over = message_size % input_.message_multiple;
  const uint64_t padding = over == 0 ? 0 : input_.message_multiple - over;
  return std::make_unique<BodySource>(input_.connection, body_size + padding, input_.limits,
                                      input_.budget);
}

void PartsSource::BeginPart(uint64_t message_size, uint64_t body_size) {
  part_ = OpenPart(message_size, body_size);
  body_left_ = body_size;
}

absl::Status PartsSource::BeginSegment(uint64_t message_size, uint64_t body_size,
                                       uint64_t content_size) {
  if (content_size > kMaxSegmentSize) {
    return absl::InvalidArgumentError(absl::StrCat("a part of a file has ", content_size,
                                                   " bytes; at most ", kMaxSegmentSize, " can"));
  }
  BeginPart(message_size, body_size);
  content_left_ = content_size;
  segment_begins_ = true;
  return absl::OkStatus();
}

absl::StatusOr<wire::DecodedHead> PartsSource::ReadNextHead() {
  ASSIGN_OR_RETURN(wire::DecodedHead head, PeekHead());
  RETURN_IF_ERROR(CheckIsPart(head));
  input_.connection.Consume(head.head_size);
  return head;
}

absl::StatusOr<wire::DecodedHead> PartsSource::PeekHead() {
  Connection& connection = input_.connection;
  while (true) {
    // Heads of one file are about as long; that no more comes shows below.
    static_cast<void>(connection.ReadAhead(first_.head_size));
    ASSIGN_OR_RETURN(std::optional<wire::DecodedHead> head, DecodeHead(connection.buffered()));
    if (head) return *std::move(head);
    RETURN_IF_ERROR(
        connection.WaitForBuffered(connection.buffered().size() + 1, input_.limits.window));
  }
}

absl::StatusOr<std::optional<wire::DecodedHead>> PartsSource::DecodeHead(
    absl::string_view bytes) const {
  const wire::Dialect& dialect = input_.dialect;
  if (dialect.content().packets->header_on_first_only)
    return dialect.DecodeBarePacket(bytes, first_);
  const std::optional<wire::RequestHeader> header = dialect.DecodeHeader(bytes);
  if (!header) return std::nullopt;
  if (!dialect.Claims(*header)) return ComesBetween(header->code);
  return dialect.DecodeHead(bytes);
}

absl::Status PartsSource::CheckIsPart(const wire::DecodedHead& head) const {
  const auto* file = std::get_if<wire::SendFile>(&head.request.operation);
  const bool is_part = file != nullptr &&
                       file->packet.has_value() == first_file_.packet.has_value() &&
                       head.request.client_id == first_.request.client_id;
  if (!is_part) return ComesBetween(head.request.code);
  if (file->name == first_file_.name) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a part of ", NameToText(file->name),
                                                 " comes between those of ",
                                                 NameToText(first_file_.name)));
}

absl::Status PartsSource::Skip(const wire::DecodedHead& part) {
  const std::unique_ptr<BodySource> surplus =
      OpenPart(part.head_size + part.body_size, part.body_size);
  while (surplus->left() > 0) RETURN_IF_ERROR(surplus->Read().status());
  return absl::OkStatus();
}

}  // namespace backup::bridge
