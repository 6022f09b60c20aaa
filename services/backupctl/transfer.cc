#include "services/backupctl/transfer.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/status_macros.h"
#include "services/backup/crypto/random.h"
#include "services/backup/crypto/sha256.h"

namespace backup::ctl {
namespace {

using Outcome = v1::ReportTransferRequest;

constexpr int kMaxUploads = 3;
constexpr absl::Duration kFirstBackOff = absl::Milliseconds(200);

absl::Status Damaged(absl::string_view why, const v1::FileVersion& version) {
  return MakeError(Reason::kBlobDamaged, why, version.file_name());
}

// What is to be known of a file, gathered while it is sent.
struct Measures {
  Cksum cksum;
  crypto::Sha256 sha256;
};

// Sends all of `file`; gathers `measures` of it. An answer that comes early, because the service
// knows the upload id already, ends the sending but not the measuring.
absl::StatusOr<v1::UploadFileResponse> UploadOnce(Connection& connection,
                                                  const v1::UploadFileHeader& header,
                                                  const LocalFile& file, Measures& measures,
                                                  ProgressBar& progress) {
  Call call(connection.interrupt(), connection.TransferTimeout(header.encoded_size()));
  v1::UploadFileResponse response;
  const auto stream = connection.ingest().UploadFile(&call.context(), &response);
  v1::UploadFileRequest message;
  *message.mutable_header() = header;
  bool sending = stream->Write(message);
  if (!sending) RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  progress.SetDone(0);
  RangeSource source(file, 0, file.size_bytes());
  while (true) {
    const absl::StatusOr<absl::string_view> piece = source.Read();
    if (!piece.ok()) {
      call.context().TryCancel();
      if (sending) static_cast<void>(stream->Finish());
      return piece.status();
    }
    if (piece->empty()) break;
    measures.cksum.Update(*piece);
    measures.sha256.Update(*piece);
    progress.Advance(static_cast<int64_t>(piece->size()));
    if (!sending) continue;
    message.set_chunk(piece->data(), piece->size());
    sending = stream->Write(message);
    if (!sending) RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  }
  if (!sending) return response;
  stream->WritesDone();
  RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  return response;
}

absl::Status Report(Connection& connection, const v1::UploadFileHeader& header,
                    Outcome::Outcome outcome) {
  v1::ReportTransferRequest request;
  request.set_client_id(header.client_id());
  request.set_file_name(header.file_name());
  request.set_outcome(outcome);
  return connection
      .CallUnary(connection.ingest(), &v1::IngestService::StubInterface::ReportTransfer, request)
      .status();
}

// What one upload came to.
enum class Arrival { kIntact, kWrong };

absl::StatusOr<Arrival> UploadAndCompare(Connection& connection, const v1::UploadFileHeader& header,
                                         const LocalFile& file, ProgressBar& progress,
                                         v1::FileVersion& version) {
  Measures measures;
  ASSIGN_OR_RETURN(const v1::UploadFileResponse response,
                   UploadOnce(connection, header, file, measures, progress));
  version = response.version();
  const bool intact =
      response.checksum() == measures.cksum.Value() && version.sha256() == measures.sha256.Finish();
  return intact ? Arrival::kIntact : Arrival::kWrong;
}

absl::StatusOr<v1::FileVersion> Settle(Connection& connection, const v1::UploadFileHeader& header,
                                       const v1::FileVersion& version) {
  RETURN_IF_ERROR(Report(connection, header, Outcome::VERIFIED));
  v1::GetVersionRequest request;
  request.set_client_id(header.client_id());
  request.set_file_name(header.file_name());
  request.set_version_id(version.version_id());
  ASSIGN_OR_RETURN(const v1::GetVersionResponse response,
                   connection.CallUnary(connection.catalog(),
                                        &v1::CatalogService::StubInterface::GetVersion, request));
  return response.version();
}

}  // namespace

absl::Status Download(Connection& connection, const v1::FileVersion& version, ByteSink& sink,
                      ProgressBar& progress) {
  v1::DownloadFileRequest request;
  request.set_client_id(version.client_id());
  request.set_file_name(version.file_name());
  request.set_version_id(version.version_id());
  Call call(connection.interrupt(), connection.TransferTimeout(version.size_bytes()));
  const auto stream = connection.catalog().DownloadFile(&call.context(), request);
  crypto::Sha256 sha256;
  int64_t size_bytes = 0;
  v1::DownloadFileResponse message;
  while (stream->Read(&message)) {
    if (!message.has_chunk()) continue;
    size_bytes += static_cast<int64_t>(message.chunk().size());
    absl::Status taken = size_bytes > version.size_bytes()
                             ? Damaged("the service sent more than the file's size", version)
                             : sink.Write(message.chunk());
    if (!taken.ok()) {
      call.context().TryCancel();
      static_cast<void>(stream->Finish());
      return taken;
    }
    sha256.Update(message.chunk());
    progress.Advance(static_cast<int64_t>(message.chunk().size()));
  }
  RETURN_IF_ERROR(connection.Explain(stream->Finish()));
  if (size_bytes != version.size_bytes()) {
    return Damaged("the service sent less than the file's size", version);
  }
  if (sha256.Finish() != version.sha256()) {
    return Damaged("what arrived does not match the file's SHA-256", version);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::FileVersion> BackUp(Connection& connection, const std::string& client_id,
                                       const std::string& file_name, const LocalFile& file,
                                       ProgressBar& progress) {
  v1::UploadFileHeader header;
  header.set_client_id(client_id);
  header.set_file_name(file_name);
  header.set_encoding(v1::UploadFileHeader::IDENTITY);
  header.set_encoded_size(file.size_bytes());
  header.set_original_size(file.size_bytes());
  header.set_checksum_kind(v1::CKSUM_OF_PLAINTEXT);
  header.set_upload_id(ToUuidText(crypto::RandomBytes(UploadId::kSize)));
  absl::Duration back_off = kFirstBackOff;
  for (int upload = 1;; ++upload) {
    const bool last = upload == kMaxUploads;
    v1::FileVersion version;
    const absl::StatusOr<Arrival> arrival =
        UploadAndCompare(connection, header, file, progress, version);
    if (absl::IsUnavailable(arrival.status()) && !last) {
      // Whether it was stored is not known: the same upload id makes sure that it is stored once.
      if (connection.interrupt().WaitFor(back_off)) return connection.interrupt().Check();
      back_off *= 2;
      continue;
    }
    RETURN_IF_ERROR(arrival.status());
    if (*arrival == Arrival::kIntact) return Settle(connection, header, version);
    RETURN_IF_ERROR(Report(connection, header, last ? Outcome::ABANDONED : Outcome::RETRYING));
    if (last) {
      return absl::InternalError(
          absl::StrCat("the service's checksum was wrong ", kMaxUploads,
                       " times, so this upload was given up; earlier versions are untouched. Is "
                       "the service run with --debug?"));
    }
    header.set_upload_id(ToUuidText(crypto::RandomBytes(UploadId::kSize)));
  }
}

}  // namespace backup::ctl
