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

absl::Status ComesBetween(uint16_t code) {
  return absl::InvalidArgumentError(
      absl::StrCat("request ", code, " comes between the parts of a file"));
}

}  // namespace

PartsSource::PartsSource(Connection& connection, const wire::Dialect& dialect,
                         const wire::DecodedHead& first, const BodyLimits& limits,
                         BodyBudget& budget)
    : connection_(connection),
      dialect_(dialect),
      client_id_(first.request.client_id),
      first_file_(std::get<wire::SendFile>(first.request.operation)),
      limits_(limits),
      budget_(budget) {}

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
  const double least = absl::ToDoubleSeconds(waited) * limits_.least_bytes_per_second;
  if (waited < limits_.window || static_cast<double>(received_bytes_) >= least)
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
  const size_t content = std::min<uint64_t>(piece.size(), content_left_);
  buffer_.append(piece.data(), content);
  content_left_ -= content;
  if (part_->left() > 0) return absl::OkStatus();
  part_.reset();
  return EndPart();
}

void PartsSource::BeginPart(uint64_t body_size) {
  part_ = std::make_unique<BodySource>(connection_, body_size, limits_, budget_);
}

void PartsSource::BeginSegment(uint64_t body_size, uint64_t segment_size) {
  BeginPart(body_size);
  content_left_ = segment_size;
  segment_begins_ = true;
}

absl::StatusOr<wire::DecodedHead> PartsSource::ReadNextHead() {
  ASSIGN_OR_RETURN(wire::DecodedHead head, PeekHead(limits_.window));
  RETURN_IF_ERROR(CheckIsPart(head));
  connection_.Consume(head.head_size);
  return head;
}

bool PartsSource::MoreFollows(absl::Duration timeout) {
  const absl::StatusOr<wire::DecodedHead> head = PeekHead(timeout);
  return head.ok() && CheckIsPart(*head).ok();
}

absl::StatusOr<wire::DecodedHead> PartsSource::PeekHead(absl::Duration timeout) {
  while (true) {
    const absl::string_view bytes = connection_.buffered();
    const std::optional<wire::RequestHeader> header = wire::DecodeHeader(bytes);
    if (header && !dialect_.Claims(*header)) return ComesBetween(header->code);
    ASSIGN_OR_RETURN(std::optional<wire::DecodedHead> head, dialect_.DecodeHead(bytes));
    if (head) return *std::move(head);
    RETURN_IF_ERROR(connection_.WaitForBuffered(bytes.size() + 1, timeout));
  }
}

absl::Status PartsSource::CheckIsPart(const wire::DecodedHead& head) const {
  const auto* file = std::get_if<wire::SendFile>(&head.request.operation);
  const bool is_part = file != nullptr && file->is_block == first_file_.is_block &&
                       file->packet.has_value() == first_file_.packet.has_value() &&
                       head.request.client_id == client_id_;
  if (!is_part) return ComesBetween(head.request.code);
  if (file->name == first_file_.name) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a part of ", NameToText(file->name),
                                                 " comes between those of ",
                                                 NameToText(first_file_.name)));
}

absl::Status PartsSource::Skip(uint64_t body_size) {
  BodySource surplus(connection_, body_size, limits_, budget_);
  while (surplus.left() > 0) RETURN_IF_ERROR(surplus.Read().status());
  return absl::OkStatus();
}

}  // namespace backup::bridge
