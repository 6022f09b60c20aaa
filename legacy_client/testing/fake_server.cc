#include "legacy_client/testing/fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace backup::legacy_client::testing {
namespace {

constexpr size_t kHeaderSize = 23;
constexpr size_t kNameSize = 255;
constexpr size_t kBlockSize = 1024;

uint32_t LittleEndian(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = bytes.size(); i > 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[i - 1]);
  return value;
}

std::optional<std::string> ReadExactly(int fd, size_t size) {
  std::string bytes(size, '\0');
  for (size_t filled = 0; filled < size;) {
    const ssize_t count = ::recv(fd, bytes.data() + filled, size - filled, 0);
    if (count <= 0) return std::nullopt;
    filled += static_cast<size_t>(count);
  }
  return bytes;
}

// Where the name begins in the payload of a request.
size_t NameAt(const FakeFamily& family, int code) {
  if (code == family.file_code) return family.id_size + family.file_sizes_size;
  return code > family.file_code ? family.id_size : 0;
}

// The rest of a file whose payload size does not count it all: content size tells.
std::optional<std::string> ReadUncounted(int fd, std::string payload, size_t name_at) {
  const std::optional<std::string> fields =
      ReadExactly(fd, name_at + kNameSize - std::min(payload.size(), name_at + kNameSize));
  if (!fields) return std::nullopt;
  absl::StrAppend(&payload, *fields);
  const auto content =
      ReadExactly(fd, LittleEndian(absl::string_view(payload).substr(name_at - 4, 4)));
  if (!content) return std::nullopt;
  return absl::StrCat(payload, *content);
}

std::optional<Received> ReadBytes(int fd, const FakeFamily& family) {
  Received request;
  while (true) {
    const size_t size = family.request_size(request.bytes);
    if (size != 0 && request.bytes.size() >= size) return request;
    const auto more = ReadExactly(fd, size == 0 ? 1 : size - request.bytes.size());
    if (!more) return std::nullopt;
    absl::StrAppend(&request.bytes, *more);
  }
}

std::optional<Received> ReadRequest(int fd, const FakeFamily& family) {
  if (family.request_size) return ReadBytes(fd, family);
  const std::optional<std::string> header = ReadExactly(fd, kHeaderSize);
  if (!header) return std::nullopt;
  const absl::string_view view = *header;
  Received request{std::string(view.substr(0, 16)),
                   static_cast<int>(LittleEndian(view.substr(16, 1))),
                   static_cast<int>(LittleEndian(view.substr(17, 2)))};
  request.name_at = NameAt(family, request.code);
  std::optional<std::string> payload = ReadExactly(fd, LittleEndian(view.substr(19, 4)));
  if (payload && request.code == family.file_code &&
      payload->size() <= request.name_at + kNameSize) {
    payload = ReadUncounted(fd, *std::move(payload), request.name_at);
  }
  if (!payload) return std::nullopt;
  request.payload = *std::move(payload);
  const size_t size = kHeaderSize + request.payload.size();
  if (family.blocks_1024 && !ReadExactly(fd, (kBlockSize - size % kBlockSize) % kBlockSize)) {
    return std::nullopt;
  }
  return request;
}

void Send(int fd, const Reply& reply) {
  const size_t step = reply.in_single_bytes ? 1 : reply.bytes.size();
  for (size_t sent = 0; sent < reply.bytes.size(); sent += step) {
    ::send(fd, reply.bytes.data() + sent, step, MSG_NOSIGNAL);
  }
}

}  // namespace

std::string Received::Name() const {
  const absl::string_view field = absl::string_view(payload).substr(name_at, kNameSize);
  return std::string(field.substr(0, field.find('\0')));
}

std::string Received::Content() const { return payload.substr(name_at + kNameSize); }

std::string AnswerBytes(int code, absl::string_view payload) {
  std::string bytes = {3, static_cast<char>(code), static_cast<char>(code >> 8)};
  for (int shift = 0; shift < 32; shift += 8) {
    bytes.push_back(static_cast<char>(payload.size() >> shift));
  }
  return absl::StrCat(bytes, payload);
}

std::string EncryptForClient(absl::string_view public_key, absl::string_view session_key,
                             bool pkcs1_v15) {
  const auto* der = reinterpret_cast<const unsigned char*>(public_key.data());
  const auto der_size = static_cast<long>(public_key.size());
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(d2i_PUBKEY(nullptr, &der, der_size),
                                                          &EVP_PKEY_free);
  if (key == nullptr) key.reset(d2i_PublicKey(EVP_PKEY_RSA, nullptr, &der, der_size));
  CHECK(key != nullptr);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(
      EVP_PKEY_CTX_new(key.get(), nullptr), &EVP_PKEY_CTX_free);
  CHECK_EQ(EVP_PKEY_encrypt_init(context.get()), 1);
  const int padding = pkcs1_v15 ? RSA_PKCS1_PADDING : RSA_PKCS1_OAEP_PADDING;
  CHECK_EQ(EVP_PKEY_CTX_set_rsa_padding(context.get(), padding), 1);
  std::string out(128, '\0');
  size_t size = out.size();
  CHECK_EQ(EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                            reinterpret_cast<const unsigned char*>(session_key.data()),
                            session_key.size()),
           1);
  CHECK_EQ(size, out.size());
  return out;
}

FakeServer::FakeServer(std::vector<Step> script, FakeFamily family)
    : script_(std::move(script)),
      family_(family),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  CHECK_EQ(::bind(listener_.get(), generic, size), 0);
  CHECK_EQ(::listen(listener_.get(), 8), 0);
  CHECK_EQ(::getsockname(listener_.get(), generic, &size), 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Play(); });
}

FakeServer::~FakeServer() { Finish(); }

const std::vector<Received>& FakeServer::Finish() {
  ::shutdown(listener_.get(), SHUT_RDWR);  // A step that never came must not be waited for.
  if (thread_.joinable()) thread_.join();
  return received_;
}

void FakeServer::Play() {
  UniqueFd connection;
  int connections = 0;
  for (const Step& step : script_) {
    std::optional<Received> request;
    if (connection.valid()) request = ReadRequest(connection.get(), family_);
    if (!request) {
      connection = UniqueFd(::accept(listener_.get(), nullptr, nullptr));
      if (!connection.valid()) return;
      ++connections;
      const int on = 1;
      ::setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      request = ReadRequest(connection.get(), family_);
      if (!request) return;
    }
    request->connection = connections;
    received_.push_back(*request);
    const Reply reply = step(*request);
    Send(connection.get(), reply);
    if (reply.hang_up) connection.Reset();
  }
}

}  // namespace backup::legacy_client::testing
