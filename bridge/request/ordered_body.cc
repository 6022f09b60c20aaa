#include "bridge/request/ordered_body.h"

#include "base/status_macros.h"
#include "bridge/service/await.h"

namespace backup::bridge {

absl::StatusOr<absl::string_view> OrderedBody::Read() {
  if (place_.is_taken()) RETURN_IF_ERROR(WaitUntilFirst());
  ASSIGN_OR_RETURN(const absl::string_view piece, body_.Read());
  const bool is_end = piece.empty();
  if ((is_end || body_.left() == 0) && !place_.is_taken()) place_ = order_.Take(id_);
  if (is_end) RETURN_IF_ERROR(WaitUntilFirst());
  return piece;
}

absl::Status OrderedBody::WaitUntilFirst() {
  if (is_first_) return absl::OkStatus();
  RETURN_IF_ERROR(
      Await<absl::Status>([this](auto go) { order_.WhenFirst(place_, std::move(go)); }));
  is_first_ = true;
  return absl::OkStatus();
}

}  // namespace backup::bridge
