// The parts of a Session that wait for a file's content: on a worker.

#include <utility>

#include "bridge/request/session.h"
#include "bridge/upload/block_source.h"
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
  connection_.Consume(current_->exchange->head.head_size);
  const auto& file = std::get<wire::SendFile>(current_->exchange->head.request.operation);
  if (IsSurplus(file)) return DropSurplus();
  if (file.packet) return ReceivePackets(file);
  if (file.is_block) return ReceiveBlocks();
  BodySource body(connection_, current_->exchange->head.body_size, options_.body,
                  context_.body_budget);
  const uint64_t body_size = current_->exchange->head.body_size;
  ForwardBody(body, {body, body_size}, [&] { return body_size - body.left(); });
}

bool Session::IsSurplus(const wire::SendFile& file) const {
  return file.packet && last_packets_ && file.name == last_packets_->name &&
         last_packets_->order.IsSurplus(*file.packet);
}

void Session::DropSurplus() {
  VLOG(1) << "conn=" << connection_.number() << " sent a packet after the last of a file";
  BodySource body(connection_, current_->exchange->head.body_size, options_.body,
                  context_.body_budget);
  Conclude(Settle(body));
}

void Session::ReceivePackets(const wire::SendFile& file) {
  const absl::StatusOr<PacketOrder> order = PacketOrder::OfFirst(*file.packet);
  if (!order.ok()) {
    ReportBadPart(order.status());
    return Finish({Failed(order.status()), {Served::Next::kLinger, CloseReason::kProtocol}});
  }
  last_packets_ = PacketFile{file.name, *order};
  PacketSource body(connection_, current_->exchange->dialect, current_->exchange->head, *order,
                    options_.body, context_.body_budget);
  ForwardBody(body, {body, body.stream_size(), body.segment_count()},
              [&] { return body.received_bytes(); });
}

void Session::ReceiveBlocks() {
  BlockSource body(
      connection_, current_->exchange->dialect, current_->exchange->head, options_.body,
      context_.body_budget, [this](uint64_t request_size) { TakePadding(request_size); },
      options_.next_block_timeout);
  constexpr int kAsManyAsCome = 0;
  ForwardBody(body, {body, 0, kAsManyAsCome}, [&] { return body.received_bytes(); });
}

void Session::ForwardBody(Body& body, const StreamedContent& content,
                          const std::function<uint64_t()>& received_bytes) {
  const bool is_small = !content.segment_count && content.size <= kMaxWholeFileSize;
  if (is_small) return ForwardSmall(body, received_bytes);
  Forwarded forwarded =
      context_.forwarder.ForwardStream(current_->origin, current_->exchange->head.request,
                                       Observed(content.segment_count.has_value()), content);
  if (absl::IsInvalidArgument(body.status())) ReportBadPart(body.status());
  const uint64_t received = received_bytes();
  FinishMessage({std::move(forwarded), Settle(body), received});
}

void Session::ForwardSmall(Body& body, const std::function<uint64_t()>& received_bytes) {
  absl::StatusOr<std::string> content = ReadAll(body, kMaxWholeFileSize);
  if (absl::IsInvalidArgument(body.status())) ReportBadPart(body.status());
  const uint64_t received = received_bytes();
  const Served settled = Settle(body);
  if (!content.ok()) return FinishMessage({Failed(content.status()), settled, received});
  current_->content = *std::move(content);
  ForwardWhole(current_->content, context_.forwarder.TakePlace(current_->exchange->head.request),
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
  context_.forwarder.ReportProtocolError(
      current_->origin, current_->exchange->head.request.client_id, rule.message());
}

}  // namespace backup::bridge
