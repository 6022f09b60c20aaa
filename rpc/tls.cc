#include "rpc/tls.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace backup::rpc {
namespace {

namespace tls = grpc::experimental;

// How soon a new certificate is noticed.
constexpr unsigned kRefreshSeconds = 1;

struct Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

absl::Status Unfit(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(absl::StrCat(path, " ", why));
}

absl::StatusOr<std::unique_ptr<BIO, Free>> OpenFile(const std::string& path) {
  std::unique_ptr<BIO, Free> bio(BIO_new_file(path.c_str(), "r"));
  if (bio == nullptr) {
    return Unfit(path, absl::StrCat("cannot be read (", std::strerror(errno),
                                    "): correct the path or the file's owner and mode"));
  }
  return bio;
}

absl::StatusOr<Certificate> ReadCertificate(const std::string& path) {
  ASSIGN_OR_RETURN(const auto bio, OpenFile(path));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) return Unfit(path, "holds no certificate in PEM form: make one");
  return certificate;
}

absl::Status CheckValidNow(const std::string& path, const X509& certificate) {
  if (X509_cmp_current_time(X509_get0_notAfter(&certificate)) < 0)
    return Unfit(path, "has expired: renew the certificate");
  if (X509_cmp_current_time(X509_get0_notBefore(&certificate)) > 0)
    return Unfit(path, "is not valid yet: check this machine's clock");
  return absl::OkStatus();
}

absl::StatusOr<Key> ReadKey(const std::string& path) {
  ASSIGN_OR_RETURN(const auto bio, OpenFile(path));
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || (info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return Unfit(path, "is a private key that others than its owner can read: chmod 600");
  // OpenSSL by itself would ask whoever sits at the terminal.
  bool is_protected = false;
  const auto no_passphrase = [](char*, int, int, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
  };
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &is_protected));
  if (is_protected) {
    return Unfit(path, absl::StrCat("is protected by a passphrase, which nobody can type in here: "
                                    "`openssl pkey -in ",
                                    path, " -out NEW` makes one without"));
  }
  if (key == nullptr) return Unfit(path, "holds no private key in PEM form: make one");
  return key;
}

std::shared_ptr<tls::FileWatcherCertificateProvider> Provider(const TlsFiles& files) {
  return std::make_shared<tls::FileWatcherCertificateProvider>(files.key_file, files.cert_file,
                                                               files.ca_file, kRefreshSeconds);
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.cert_file.empty() != files.key_file.empty())
    return absl::FailedPreconditionError("a TLS certificate and its key are only of use together");
  if (!files.cert_file.empty()) {
    ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(files.cert_file));
    RETURN_IF_ERROR(CheckValidNow(files.cert_file, *certificate));
    ASSIGN_OR_RETURN(const Key key, ReadKey(files.key_file));
    if (X509_check_private_key(certificate.get(), key.get()) != 1) {
      return Unfit(files.key_file, absl::StrCat("is not the key of the certificate in ",
                                                files.cert_file, ": give the pair"));
    }
  }
  if (files.ca_file.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Certificate ca, ReadCertificate(files.ca_file));
  return CheckValidNow(files.ca_file, *ca);
}

absl::StatusOr<absl::Time> CertificateExpiry(const std::string& cert_file) {
  ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(cert_file));
  std::tm end = {};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1)
    return Unfit(cert_file, "has no end that makes sense");
  return absl::FromTM(end, absl::UTCTimeZone());
}

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const TlsFiles& files) {
  tls::TlsServerCredentialsOptions options(Provider(files));
  options.watch_identity_key_cert_pairs();
  if (!files.ca_file.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return tls::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> MakeChannelCredentials(const TlsFiles& files) {
  if (files.ca_file.empty()) return grpc::InsecureChannelCredentials();
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Provider(files));
  options.watch_root_certs();
  if (!files.cert_file.empty()) options.watch_identity_key_cert_pairs();
  return tls::TlsCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> MakeSelfCredentials(const TlsFiles& files) {
  if (files.cert_file.empty()) return grpc::InsecureChannelCredentials();
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Provider({files.cert_file, files.key_file, ""}));
  options.watch_identity_key_cert_pairs();
  options.set_verify_server_certs(false);
  options.set_certificate_verifier(std::make_shared<tls::NoOpCertificateVerifier>());
  options.set_check_call_host(false);
  return tls::TlsCredentials(options);
}

}  // namespace backup::rpc
