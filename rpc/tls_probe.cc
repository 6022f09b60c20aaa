#include "rpc/tls_probe.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <csignal>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/printable.h"
#include "base/socket_address.h"

namespace backup::rpc {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxAlternativeNames = 8;  // More are not named.

struct Free {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
  void operator()(BIO* bio) const { BIO_free(bio); }
};

// Writing to a connection that is gone must not end the process.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~WithoutSigpipe() {
    if (sigismember(&before_, SIGPIPE) == 1) return;
    const timespec no_time = {};
    sigtimedwait(&sigpipe_, nullptr, &no_time);  // Takes one that came meanwhile.
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t sigpipe_ = {};
  sigset_t before_ = {};
};

std::string TextOf(const X509_NAME* name) {
  const std::unique_ptr<BIO, Free> text(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(text.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* bytes = nullptr;
  const auto size = static_cast<size_t>(BIO_get_mem_data(text.get(), &bytes));
  return Printable(absl::string_view(bytes, size));
}

// The names that a certificate is for.
std::string NamesOf(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, Free> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::vector<std::string> texts;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()) && i < kMaxAlternativeNames; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    const ASN1_STRING* value = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    const absl::string_view bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                                  static_cast<size_t>(ASN1_STRING_length(value)));
    if (name->type == GEN_DNS) {
      texts.push_back(Printable(bytes));
    } else if (const auto number = HostOfBytes(bytes)) {
      texts.push_back(*number);
    }
  }
  return texts.empty() ? "no name at all" : absl::StrJoin(texts, ", ");
}

// One handshake as a client, and what is learned from it.
class Handshake {
 public:
  Handshake(int socket, absl::Duration timeout)
      : socket_(socket),
        deadline_(Clock::now() + absl::ToChronoNanoseconds(timeout)),
        context_(SSL_CTX_new(TLS_client_method())) {
    if (context_ == nullptr) return;
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
    SSL_CTX_set_cert_cb(context_.get(), &NoteRequest, this);
    // A key with a passphrase is unfit; nobody is asked for it.
    SSL_CTX_set_default_passwd_cb(context_.get(), [](char*, int, int, void*) { return -1; });
  }

  // Null if there is no memory for one.
  SSL_CTX* context() { return context_.get(); }
  SSL* ssl() { return ssl_.get(); }
  // Whether the other side asked for a certificate.
  bool is_asked() const { return is_asked_; }
  // The code of OpenSSL's error that ended the last operation; 0 if the other side hung up.
  unsigned long error() const { return error_; }
  bool is_late() const { return Clock::now() >= deadline_; }

  bool Connect(const std::string& name) {
    ssl_.reset(SSL_new(context_.get()));
    if (ssl_ == nullptr) return false;
    SSL_set_fd(ssl_.get(), socket_);
    if (!name.empty() && !NumericHost(name)) SSL_set_tlsext_host_name(ssl_.get(), name.c_str());
    constexpr unsigned char kHttp2[] = {2, 'h', '2'};
    SSL_set_alpn_protos(ssl_.get(), kHttp2, sizeof(kHttp2));
    return Finish([&] { return SSL_connect(ssl_.get()); });
  }
  bool SpeaksHttp2() {
    const unsigned char* protocol = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &protocol, &size);
    return absl::string_view(reinterpret_cast<const char*>(protocol), size) == "h2";
  }
  bool Write(absl::string_view bytes) {
    return Finish(
        [&] { return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); });
  }
  // Whether anything comes.
  bool Read() {
    char byte = 0;
    return Finish([&] { return SSL_read(ssl_.get(), &byte, 1); });
  }

 private:
  static int NoteRequest(SSL*, void* handshake) {
    static_cast<Handshake*>(handshake)->is_asked_ = true;
    return 1;
  }

  // Repeats a step of OpenSSL's until it is done, failed or late.
  template <typename Step>
  bool Finish(Step step) {
    while (true) {
      ERR_clear_error();
      const int result = step();
      if (result > 0) return true;
      const int wanted = SSL_get_error(ssl_.get(), result);
      error_ = ERR_peek_error();
      if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE) return false;
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
      pollfd waited = {socket_,
                       static_cast<short>(wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
      if (left.count() <= 0 || ::poll(&waited, 1, static_cast<int>(left.count())) == 0)
        return false;
    }
  }

  const int socket_;
  const Clock::time_point deadline_;
  const std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
  bool is_asked_ = false;
  unsigned long error_ = 0;
};

// What a probe knows, for its sentences.
struct Scene {
  const ConnectionPlan& plan;
  absl::string_view address;
};

// What the other side says of itself by the error that ended a handshake.
std::string WhyNoHandshake(const Handshake& handshake, const Scene& scene) {
  if (handshake.is_late()) {
    return absl::StrCat("what listens at ", scene.address,
                        " takes connections and does not answer: does it hang, or is it another "
                        "kind of server?");
  }
  const unsigned long error = handshake.error();
  switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_HTTP_REQUEST:
      return absl::StrCat("the service at ", scene.address,
                          " speaks plaintext, not TLS: leave out ", scene.plan.names.ca,
                          ", or turn TLS on there (--tls_cert_file)");
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return absl::StrCat("what listens at ", scene.address,
                          " speaks no TLS of version 1.2 or newer: is it a backup-service?");
    default:
      break;
  }
  if (error == 0) {
    return absl::StrCat("what listens at ", scene.address,
                        " hangs up during the TLS handshake: does it speak TLS?");
  }
  const char* const reason = ERR_reason_error_string(error);
  return absl::StrCat("the TLS handshake with ", scene.address,
                      " fails: ", reason == nullptr ? "unknown error" : reason);
}

// The certificate of the service, which could not be traced to a CA.
std::string WhyUntrusted(SSL* ssl, const X509& leaf, const Scene& scene) {
  const X509_NAME* const issuer = X509_get_issuer_name(&leaf);
  const X509_STORE* const store = SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl));
  const STACK_OF(X509_OBJECT)* const known = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(known); ++i) {
    const X509* ca = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(known, i));
    if (ca != nullptr && X509_NAME_cmp(X509_get_subject_name(ca), issuer) == 0) {
      return absl::StrCat("the service's certificate is of an unknown CA: of another \"",
                          TextOf(issuer), "\" than the one in ", scene.plan.tls.ca_file,
                          ": give the CA of this service with ", scene.plan.names.ca);
    }
  }
  const STACK_OF(X509)* const sent = SSL_get_peer_cert_chain(ssl);
  const bool is_self_signed = X509_NAME_cmp(issuer, X509_get_subject_name(&leaf)) == 0;
  if (is_self_signed || sk_X509_num(sent) > 1) {
    const X509* const top = sk_X509_value(sent, sk_X509_num(sent) - 1);
    return absl::StrCat("the service's certificate is of an unknown CA: \"",
                        TextOf(X509_get_issuer_name(top)), "\" is not in ", scene.plan.tls.ca_file,
                        ": give the CA of this service with ", scene.plan.names.ca);
  }
  return absl::StrCat("the service's certificate was issued by \"", TextOf(issuer),
                      "\", which the service does not send and ", scene.plan.tls.ca_file,
                      " does not have: if that is an intermediate CA, append its certificate to "
                      "the service's --tls_cert_file; else give the CA of this service with ",
                      scene.plan.names.ca);
}

std::string WhyUnfit(Handshake& handshake, const Scene& scene, const std::string& name) {
  const std::unique_ptr<X509, Free> leaf(SSL_get1_peer_certificate(handshake.ssl()));
  const long result = SSL_get_verify_result(handshake.ssl());
  switch (result) {
    case X509_V_OK:
      break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return absl::StrCat(
          "the service's certificate, or that of its CA, has expired: renew it, or ",
          "correct this machine's clock");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return absl::StrCat("the service's certificate is not valid yet: check the clocks of this ",
                          "machine and of the one that made it");
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return WhyUntrusted(handshake.ssl(), *leaf, scene);
    default:
      return absl::StrCat("the service's certificate is not to be trusted: ",
                          X509_verify_cert_error_string(result), ": make it anew");
  }
  const bool is_number = NumericHost(name).has_value();
  const bool fits = is_number
                        ? X509_check_ip_asc(leaf.get(), NumericHost(name)->c_str(), 0) == 1
                        : X509_check_host(leaf.get(), name.data(), name.size(), 0, nullptr) == 1;
  if (fits) return "";
  return absl::StrCat("the service's certificate is for ", NamesOf(leaf.get()), ", not for ",
                      Printable(name), ": give one of its names with ",
                      scene.plan.names.server_name);
}

// The service heard our certificate, or none, and hung up.
std::string WhyRefused(const Handshake& handshake, const Scene& scene) {
  if (handshake.is_late()) return WhyNoHandshake(handshake, scene);
  const std::string& cert = scene.plan.tls.cert_file;
  if (!handshake.is_asked()) {
    return absl::StrCat("what listens at ", scene.address,
                        " hangs up after the TLS handshake: is it a backup-service?");
  }
  if (cert.empty()) {
    return absl::StrCat("the service at ", scene.address,
                        " asks for a client certificate, and none was given: give one with ",
                        scene.plan.names.cert_and_key);
  }
  const int reason = ERR_GET_REASON(handshake.error());
  const bool has_expired = reason == SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED;
  return absl::StrCat(
      "the service at ", scene.address, " refuses the client certificate ", cert, ": ",
      has_expired ? "it has expired by the service's clock: renew it"
                  : "give one of the CA that the service trusts (its --tls_client_ca_file)",
      ", with ", scene.plan.names.cert_and_key);
}

}  // namespace

std::string ProbeTls(int socket, const ConnectionPlan& plan, absl::string_view host,
                     absl::string_view address, absl::Duration timeout) {
  const WithoutSigpipe without_sigpipe;
  const Scene scene{plan, address};
  Handshake handshake(socket, timeout);
  SSL_CTX* const context = handshake.context();
  if (context == nullptr) return "";
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);  // What is found is looked at afterwards.
  // The files were looked at before; what changed since is for the next try.
  if (SSL_CTX_load_verify_locations(context, plan.tls.ca_file.c_str(), nullptr) != 1) return "";
  if (!plan.tls.cert_file.empty() &&
      (SSL_CTX_use_certificate_chain_file(context, plan.tls.cert_file.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, plan.tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1)) {
    return "";
  }
  const std::string name = plan.server_name.empty() ? std::string(host) : plan.server_name;
  const bool connected = handshake.Connect(name);
  if (handshake.ssl() == nullptr) return "";
  if (!connected && handshake.is_asked()) return WhyRefused(handshake, scene);
  if (!connected) return WhyNoHandshake(handshake, scene);
  std::string unfit = WhyUnfit(handshake, scene, name);
  if (!unfit.empty()) return unfit;
  if (!handshake.SpeaksHttp2()) {
    return absl::StrCat("what listens at ", address,
                        " speaks TLS, but not HTTP/2: is it a backup-service?");
  }
  // A server of TLS 1.3 says what it thinks of a client's certificate only now.
  if (handshake.Write(kHttp2Hello) && handshake.Read()) return "";
  return WhyRefused(handshake, scene);
}

bool SpeaksTls(int socket, absl::Duration timeout) {
  const WithoutSigpipe without_sigpipe;
  Handshake handshake(socket, timeout);
  if (handshake.context() == nullptr) return false;
  SSL_CTX_set_verify(handshake.context(), SSL_VERIFY_NONE, nullptr);
  return handshake.Connect("") || handshake.is_asked() ||
         (handshake.ssl() != nullptr && SSL_get0_peer_certificate(handshake.ssl()) != nullptr);
}

}  // namespace backup::rpc
