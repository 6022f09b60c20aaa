// The parts of a Session that wait for a file's content: on a worker.

#include <utility>

#include "bridge/request/session.h"
#include "glog/logging.h"

namespace backup::bridge {
namespace {

// Why a connection ends whose body ended so.
CloseReason ReasonFor(const absl::Status& body) {
  if (body.ok()) return CloseReason::kLimit;  // There is more of it than is read for nothing.
  if (absl::IsDeadlineExceeded(body)) return CloseReason::kRate;
  return absl::IsInvalidArgument(body) ? CloseReason::kProtocol : CloseReason::kEof;
}

}  // namespace

void Session::ReceiveFile() {
  const Exchange& exchange = *current_->exchange;
  connection_.Consume(exchange.head.head_size);
  const auto& file = std::get<wire::SendFile>(exchange.head.request.operation);
  if (IsSurplus(file)) return DropSurplus();
  const absl::StatusOr<UploadContent> content =
      OpenContent(connection_, exchange.dialect, exchange.head, framing_.pads(exchange.dialect),
                  options_.body, context_.body_budget);
  if (!content.ok()) {
    ReportBadPart(content.status());
    return Finish({Failed(content.status()), {Served::Next::kLinger, CloseReason::kProtocol}});
  }
  if (content->packets) last_packets_ = PacketFile{file.name, *content->packets};
  if (file.packet || file.blocks_size > 0) framing_.Learn(content->is_padded);
  ForwardBody(*content);
}

bool Session::IsSurplus(const wire::SendFile& file) const {
  return file.packet && last_packets_ && file.name == last_packets_->name &&
         last_packets_->order.IsSurplus(*file.packet);
}

void Session::DropSurplus() {
  VLOG(1) << "conn=" << connection_.number() << " sent a packet after the last of a file";
  BodySource body(connection_, current_->exchange->head.body_size, options_.body,
                  context_.body_budget);
  const Served settled = Settle(body);
  if (settled.next == Served::Next::kKeep) TakePadding();
  Conclude(settled);
}

void Session::ForwardBody(const UploadContent& content) {
  const bool is_small = !content.segment_count && content.size <= kMaxWholeFileSize;
  if (is_small) return ForwardSmall(content);
  Forwarded forwarded = context_.forwarder.ForwardStream(
      current_->origin, std::get<wire::SendFile>(current_->exchange->head.request.operation),
      MakeSender(content.segment_count.has_value()), content);
  Body& body = *content.body;
  if (absl::IsInvalidArgument(body.status())) ReportBadPart(body.status());
  const uint64_t received = body.received_bytes();
  FinishMessage({std::move(forwarded), Settle(body), received});
}

void Session::ForwardSmall(const UploadContent& content) {
  Body& body = *content.body;
  absl::StatusOr<std::string> bytes = ReadAll(body, kMaxWholeFileSize);
  if (absl::IsInvalidArgument(body.status())) ReportBadPart(body.status());
  const uint64_t received = body.received_bytes();
  const Served settled = Settle(body);
  if (!bytes.ok()) return FinishMessage({Failed(bytes.status()), settled, received});
  current_->content = *std::move(bytes);
  ForwardWhole({current_->content, content.plaintext_size}, TakePlace(),
               [this, settled, received](Forwarded forwarded) {
                 current_->content.clear();
                 FinishMessage({std::move(forwarded), settled, received});
               });
}

Served Session::Settle(Body& body) const {
  if (body.left() > options_.drain_limit_bytes)
    return {Served::Next::kLinger, ReasonFor(body.status())};
  const MonotonicTime end = After(options_.drain_timeout);
  uint64_t drained = 0;
  while (body.status().ok() && body.left() > 0 && drained <= options_.drain_limit_bytes &&
         MonotonicClock::now() < end) {
    if (const auto piece = body.Read(); piece.ok()) drained += piece->size();
  }
  if (body.status().ok() && body.left() == 0) return {};
  return {Served::Next::kLinger, ReasonFor(body.status())};
}

void Session::ReportBadPart(const absl::Status& rule) {
  CountError("bad_packet");
  context_.forwarder.ReportProtocolError(current_->origin, *current_->exchange->client,
                                         rule.message());
}

}  // namespace backup::bridge
