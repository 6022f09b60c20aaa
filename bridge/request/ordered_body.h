#pragma once

#include "base/byte_stream.h"
#include "base/ids.h"
#include "bridge/net/body_source.h"
#include "bridge/request/client_order.h"

namespace backup::bridge {

// The content of a file that is streamed. It takes its client's place in the line when it was read
// to its end, so that a slow one holds up nobody, and does not tell its end before it is the first
// there: so the service does not take it as whole before. Used by one thread at a time.
class OrderedBody final : public ByteSource {
 public:
  // Body and order must outlive this.
  OrderedBody(Body& body, ClientOrder& order, const ClientId& id)
      : body_(body), order_(order), id_(id) {}

  // At the end it waits for the requests ahead. Errors: the body's, and DeadlineExceeded.
  absl::StatusOr<absl::string_view> Read() override;
  SharedPiece Share(absl::string_view piece) override { return body_.Share(piece); }

 private:
  absl::Status WaitUntilFirst();

  Body& body_;
  ClientOrder& order_;
  const ClientId id_;
  ClientOrder::Place place_;
  bool is_first_ = false;
};

}  // namespace backup::bridge
