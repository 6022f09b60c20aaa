#include "bridge/testing/raw_client.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "bridge/wire/testing/byte_writer.h"
#include "glog/logging.h"

namespace backup::bridge::testing {
namespace {

constexpr uint8_t kClientVersion = 3;
constexpr size_t kNameSize = 255;
constexpr size_t kKeySize = 160;
// Longer than anything takes unless it hangs.
constexpr timeval kPatience = {20, 0};

bool Connect(const UniqueFd& socket, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

uint32_t ReadInteger(absl::string_view bytes, bool is_big_endian) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t place = is_big_endian ? i : bytes.size() - 1 - i;
    value = value << 8 | static_cast<uint8_t>(bytes[place]);
  }
  return value;
}

// With a payload of the size that the header says, but without its bytes.
std::optional<RawReply> ParseHeader(absl::string_view answer, const AnswerForm& form) {
  if (answer.size() < form.header_size()) return std::nullopt;
  const auto take = [&](size_t size) {
    const uint32_t value = ReadInteger(answer.substr(0, size), form.is_big_endian);
    answer.remove_prefix(size);
    return value;
  };
  RawReply reply;
  reply.version = take(form.version_size);
  reply.code = static_cast<uint16_t>(take(sizeof(uint16_t)));
  reply.payload.resize(take(sizeof(uint32_t)));
  return reply;
}

}  // namespace

std::optional<RawReply> ParseAnswer(absl::string_view answer, const AnswerForm& form) {
  std::optional<RawReply> reply = ParseHeader(answer, form);
  if (!reply || answer.size() < form.header_size() + reply->payload.size()) return std::nullopt;
  reply->payload = std::string(answer.substr(form.header_size(), reply->payload.size()));
  return reply;
}

bool CanConnect(int port) { return Connect(RawClient::MakeSocket(), port); }

std::string NameField(absl::string_view name) {
  std::string field(name);
  field.resize(kNameSize, '\0');
  return field;
}

std::string AnyRequest(const ClientId& id, uint16_t code, absl::string_view payload) {
  return wire::ByteWriter()
      .Bytes(id.bytes())
      .U8(kClientVersion)
      .U16(code)
      .U32(static_cast<uint32_t>(payload.size()))
      .Bytes(payload)
      .Take();
}

std::string RegisterRequest(absl::string_view name) {
  return AnyRequest(ClientId(), 1025, NameField(name));
}
std::string PublicKeyRequest(const ClientId& id, absl::string_view name) {
  return AnyRequest(id, 1026, NameField(name) + std::string(kKeySize, 'p'));
}
std::string ReconnectRequest(const ClientId& id, absl::string_view name) {
  return AnyRequest(id, 1027, NameField(name));
}
std::string FileRequest(const ClientId& id, absl::string_view name, absl::string_view content) {
  return AnyRequest(id, 1028,
                    wire::ByteWriter()
                        .U32(static_cast<uint32_t>(content.size()))
                        .Bytes(NameField(name))
                        .Bytes(content)
                        .Take());
}
std::string ValidRequest(const ClientId& id, absl::string_view name) {
  return AnyRequest(id, 1029, NameField(name));
}
std::string RetryRequest(const ClientId& id, absl::string_view name) {
  return AnyRequest(id, 1030, NameField(name));
}
std::string AbortRequest(const ClientId& id, absl::string_view name) {
  return AnyRequest(id, 1031, NameField(name));
}

UniqueFd RawClient::MakeSocket() {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  PCHECK(socket.valid());
  PCHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) == 0);
  PCHECK(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience)) == 0);
  return socket;
}

RawClient::RawClient(UniqueFd socket, int port) : socket_(std::move(socket)) {
  PCHECK(Connect(socket_, port));
}

void RawClient::Send(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // The bridge hung up; the test sees it when it receives.
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::optional<std::string> RawClient::ReceiveBytes(size_t size) {
  std::string bytes(size, '\0');
  size_t filled = 0;
  while (filled < size) {
    const ssize_t received = ::recv(socket_.get(), bytes.data() + filled, size - filled, 0);
    if (received <= 0) return std::nullopt;
    filled += static_cast<size_t>(received);
  }
  return bytes;
}

std::optional<RawReply> RawClient::Receive(const AnswerForm& form) {
  std::optional<std::string> answer = ReceiveBytes(form.header_size());
  if (!answer) return std::nullopt;
  const std::optional<RawReply> header = ParseHeader(*answer, form);
  if (!header || header->version != kClientVersion) return std::nullopt;
  const size_t size = answer->size() + header->payload.size();
  const size_t padded = (size + form.multiple_of - 1) / form.multiple_of * form.multiple_of;
  const std::optional<std::string> rest = ReceiveBytes(padded - answer->size());
  if (!rest) return std::nullopt;
  return ParseAnswer(*answer + *rest, form);
}

std::optional<char> RawClient::ReceiveByte() {
  const std::optional<std::string> bytes = ReceiveBytes(1);
  return bytes ? std::optional((*bytes)[0]) : std::nullopt;
}

bool RawClient::AtEnd() {
  char byte;
  return ::recv(socket_.get(), &byte, 1, 0) == 0;
}

std::string RawClient::ReceiveAll() {
  std::string all;
  char part[4096];
  while (true) {
    const ssize_t received = ::recv(socket_.get(), part, sizeof(part), 0);
    PCHECK(received >= 0 || errno == ECONNRESET);
    if (received <= 0) return all;
    all.append(part, static_cast<size_t>(received));
  }
}

void RawClient::ShutdownWrite() { ::shutdown(socket_.get(), SHUT_WR); }

RawReply RawClient::Ask(absl::string_view request) {
  Send(request);
  return Receive().value_or(RawReply());
}

ClientId RawClient::Introduce(absl::string_view name) {
  const ClientId id = Ask(RegisterRequest(name)).id();
  CHECK_EQ(Ask(PublicKeyRequest(id, name)).code, kKeyAccepted);
  return id;
}

}  // namespace backup::bridge::testing
