#include "services/backup/handlers/report_transfer.h"

#include "base/error.h"
#include "base/status_macros.h"
#include "services/backup/handlers/converters.h"

namespace backup::handlers {
namespace {

absl::StatusOr<storage::Outcome> ParseOutcome(v1::ReportTransferRequest::Outcome outcome) {
  switch (outcome) {
    case v1::ReportTransferRequest::VERIFIED:
      return storage::Outcome::kVerified;
    case v1::ReportTransferRequest::RETRYING:
      return storage::Outcome::kRetrying;
    case v1::ReportTransferRequest::ABANDONED:
      return storage::Outcome::kAbandoned;
    default:
      return MakeError(Reason::kInvalidField, "outcome must be VERIFIED, RETRYING or ABANDONED",
                       "outcome");
  }
}

}  // namespace

absl::StatusOr<ReportTransfer> ReportTransfer::Prepare(const Clock& clock, bool corrupt_checksums,
                                                       const v1::ReportTransferRequest& request) {
  ReportTransfer handler;
  storage::Verdict& verdict = handler.verdict_;
  ASSIGN_OR_RETURN(verdict.client, ParseClientId(request.client_id()));
  ASSIGN_OR_RETURN(verdict.file_name, ParseName("file_name", request.file_name()));
  ASSIGN_OR_RETURN(verdict.upload, ParseUploadId("upload_id", request.upload_id()));
  ASSIGN_OR_RETURN(verdict.outcome, ParseOutcome(request.outcome()));
  if (request.learn_checksum() && !corrupt_checksums) verdict.learning = storage::Learning::kOn;
  handler.now_ = clock.Now();
  if (request.has_report_time()) {
    ASSIGN_OR_RETURN(handler.now_,
                     ParsePastTime("report_time", request.report_time(), handler.now_));
  }
  return handler;
}

absl::Status ReportTransfer::Apply(storage::Transaction& transaction) {
  ASSIGN_OR_RETURN(changed_, transaction.SettleVersion(verdict_, now_));
  return absl::OkStatus();
}

absl::StatusOr<v1::ReportTransferResponse> ReportTransfer::Respond() const {
  v1::ReportTransferResponse response;
  response.set_client_id(ToUuid(verdict_.client));
  return response;
}

}  // namespace backup::handlers
