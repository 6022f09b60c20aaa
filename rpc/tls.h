#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"

namespace backup::rpc {

// Paths of PEM files. Credentials made of them follow their changes, and fail every handshake while
// the files do not fit each other: a process that lives long makes them of TlsFileCopies.
struct TlsFiles {
  std::string cert_file;  // Who we are, with the chain to a CA; empty: nobody.
  std::string key_file;   // The private key of that.
  std::string ca_file;    // Who may vouch for the other side; empty: nobody.
};

// OK if the files can be read and fit each other: the key belongs to the certificate, the
// certificate is valid now, and only the owner can read the key. Otherwise FailedPrecondition with
// one line that says what is wrong with which file and what to do.
absl::Status CheckTlsFiles(const TlsFiles& files);

// When the certificate in a file ends.
absl::StatusOr<absl::Time> CertificateExpiry(const std::string& cert_file);

// For a server, which needs certificate and key. With a ca_file callers must show a certificate.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsFiles& files);

// For a client; without a ca_file not encrypted at all.
std::shared_ptr<grpc::ChannelCredentials> MakeChannelCredentials(const TlsFiles& files);

// For a process that calls itself: shows a certificate, and asks for none.
std::shared_ptr<grpc::ChannelCredentials> MakeSelfCredentials(const TlsFiles& files);

}  // namespace backup::rpc
