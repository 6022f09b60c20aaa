// What grpcurl does, in C++: learns the API from the running service by reflection alone, builds
// each request from the JSON of the README's recipes, and reads the answers as JSON.

#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/checksum.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/dynamic_message.h"
#include "google/protobuf/util/json_util.h"
#include "grpcpp/channel.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "rpc/tls.h"
#include "tests/support/reflection.grpc.pb.h"
#include "tests/support/service_process.h"

namespace backup {
namespace {

using grpc::reflection::v1alpha::ServerReflection;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;
using ::testing::Contains;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr std::chrono::seconds kDeadline(20);

struct CallResult {
  grpc::Status status;
  std::vector<Json> responses;
};

// Knows nothing of the API but the server's address.
class ReflectionClient {
 public:
  ReflectionClient(const std::string& address,
                   const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : channel_(grpc::CreateChannel(address, credentials)),
        reflection_(ServerReflection::NewStub(channel_)),
        generic_(channel_) {}

  std::vector<std::string> ListServices() {
    ServerReflectionRequest request;
    request.set_list_services("*");
    std::vector<std::string> names;
    const ServerReflectionResponse response = Ask(request);
    for (const auto& service : response.list_services_response().service()) {
      names.push_back(service.name());
    }
    return names;
  }

  // `method` is "package.Service/Method"; `requests` are messages in JSON.
  CallResult Call(const std::string& method, const std::vector<std::string>& requests) {
    const std::vector<std::string> parts = absl::StrSplit(method, '/');
    const auto* service = FindService(parts[0]);
    const auto* descriptor = service == nullptr ? nullptr : service->FindMethodByName(parts[1]);
    if (descriptor == nullptr) {
      ADD_FAILURE() << "reflection does not know " << method;
      return {};
    }
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    grpc::CompletionQueue queue;
    auto stream = generic_.PrepareCall(&context, absl::StrCat("/", method), &queue);
    stream->StartCall(nullptr);
    Next(queue);
    for (const std::string& json : requests) {
      stream->Write(Encode(*descriptor->input_type(), json), nullptr);
      if (!Next(queue)) break;
    }
    stream->WritesDone(nullptr);
    Next(queue);
    CallResult result;
    grpc::ByteBuffer buffer;
    for (stream->Read(&buffer, nullptr); Next(queue); stream->Read(&buffer, nullptr)) {
      result.responses.push_back(Decode(*descriptor->output_type(), buffer));
    }
    stream->Finish(&result.status, nullptr);
    Next(queue);
    return result;
  }

 private:
  static bool Next(grpc::CompletionQueue& queue) {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  }

  ServerReflectionResponse Ask(const ServerReflectionRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    auto stream = reflection_->ServerReflectionInfo(&context);
    ServerReflectionResponse response;
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return response;
  }

  // The answer lists dependencies in any order, and a pool wants them first.
  void AddToPool(const std::string& name,
                 const std::map<std::string, google::protobuf::FileDescriptorProto>& files) {
    if (pool_.FindFileByName(name) != nullptr) return;
    const auto& file = files.at(name);
    for (const std::string& dependency : file.dependency()) AddToPool(dependency, files);
    ASSERT_NE(pool_.BuildFile(file), nullptr);
  }

  const google::protobuf::ServiceDescriptor* FindService(const std::string& name) {
    if (const auto* known = pool_.FindServiceByName(name); known != nullptr) return known;
    ServerReflectionRequest request;
    request.set_file_containing_symbol(name);
    std::map<std::string, google::protobuf::FileDescriptorProto> files;
    const ServerReflectionResponse response = Ask(request);
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      files[file.name()] = file;
    }
    for (const auto& [file_name, file] : files) AddToPool(file_name, files);
    return pool_.FindServiceByName(name);
  }

  grpc::ByteBuffer Encode(const google::protobuf::Descriptor& type, const std::string& json) {
    const std::unique_ptr<google::protobuf::Message> message(messages_.GetPrototype(&type)->New());
    EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, message.get()).ok()) << json;
    const grpc::Slice slice(message->SerializeAsString());
    return grpc::ByteBuffer(&slice, 1);
  }

  Json Decode(const google::protobuf::Descriptor& type, const grpc::ByteBuffer& buffer) {
    grpc::Slice slice;
    EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
    const std::unique_ptr<google::protobuf::Message> message(messages_.GetPrototype(&type)->New());
    EXPECT_TRUE(message->ParseFromArray(slice.begin(), static_cast<int>(slice.size())));
    std::string json;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(*message, &json).ok());
    return Json::parse(json);
  }

  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<ServerReflection::Stub> reflection_;
  grpc::GenericStub generic_;
  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory messages_{&pool_};
};

// Of a service of the deployment tests, whose certificates are in $TEST_CERTIFICATES.
std::shared_ptr<grpc::ChannelCredentials> OperatorCredentials() {
  const std::string files = getenv("TEST_CERTIFICATES");
  return rpc::MakeChannelCredentials({.cert_file = files + "/operator.crt",
                                      .key_file = files + "/operator.key",
                                      .ca_file = files + "/ca.crt"});
}

TEST(Reflection, TheReadmesRecipesWorkForAClientThatLearnsTheApiFromTheService) {
  const testing::ServiceProcess service;
  ReflectionClient client(service.address(), grpc::InsecureChannelCredentials());
  for (const char* name :
       {"backup.v1.IngestService", "backup.v1.CatalogService", "backup.v1.LifecycleService",
        "backup.v1.AdminService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(client.ListServices(), Contains(name));
  }

  const CallResult registered =
      client.Call("backup.v1.IngestService/RegisterClient", {R"({"name": "workstation"})"});
  ASSERT_TRUE(registered.status.ok()) << registered.status.error_message();
  const std::string id = registered.responses.at(0).at("client").at("clientId");

  const CallResult uploaded = client.Call(
      "backup.v1.IngestService/UploadFile",
      {absl::StrCat(R"({"header": {"client_id": ")", id,
                    R"(", "file_name": "hello.txt", "encoding": "IDENTITY", "encoded_size": 6}})"),
       R"({"chunk": "aGVsbG8K"})"});
  ASSERT_TRUE(uploaded.status.ok()) << uploaded.status.error_message();
  Cksum expected;
  expected.Update("hello\n");
  EXPECT_EQ(uploaded.responses.at(0).at("checksum"), expected.Value());

  const std::string file = absl::StrCat(R"({"client_id": ")", id, R"(", "file_name": "hello.txt")");
  EXPECT_TRUE(client
                  .Call("backup.v1.IngestService/ReportTransfer",
                        {absl::StrCat(file, R"(, "outcome": "VERIFIED"})")})
                  .status.ok());

  const CallResult listed = client.Call("backup.v1.CatalogService/ListFiles",
                                        {absl::StrCat(R"({"client_id": ")", id, R"("})")});
  ASSERT_TRUE(listed.status.ok()) << listed.status.error_message();
  EXPECT_EQ(listed.responses.at(0).at("files").at(0).at("newestVerified").at("state"), "VERIFIED");

  const CallResult downloaded =
      client.Call("backup.v1.CatalogService/DownloadFile", {absl::StrCat(file, "}")});
  ASSERT_TRUE(downloaded.status.ok()) << downloaded.status.error_message();
  ASSERT_EQ(downloaded.responses.size(), 2u);
  EXPECT_EQ(downloaded.responses[1].at("chunk"), "aGVsbG8K");

  const CallResult health = client.Call("grpc.health.v1.Health/Check", {"{}"});
  ASSERT_TRUE(health.status.ok()) << health.status.error_message();
  EXPECT_EQ(health.responses.at(0).at("status"), "SERVING");
}

// The content comes as an old client encrypts it that takes 16 bytes at a time, each with its IV in
// front, and is kept so; made with PyCryptodome under the session key 00 01 .. 0f.
TEST(Reflection, AFileThatItsClientEncryptedInItsOwnWayIsKeptSoAndReadBack) {
  const testing::ServiceProcess service({"--at_rest=client"});
  ReflectionClient client(service.address(), grpc::InsecureChannelCredentials());
  const std::string id = R"("client_id": "12345678-9abc-4def-8123-456789abcdef")";
  const CallResult imported = client.Call(
      "backup.v1.AdminService/ImportClient",
      {absl::StrCat(
          "{", id, R"(, "name": "odd", "session_key": "AAECAwQFBgcICQoLDA0ODw==", "public_key": ")",
          "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCzhOulk0Nsc+YYwfFVzgJFQxQo8ZcgaHSi4pcYzvq8/"
          "AQezSeP7"
          "gy37wPv+tDIl85ASHdev476Fm+oZ9mARyTIUZ6IY6E+Iq6qy0Pi/"
          "iJgE2I7At5FjDUxDw9cGCgWBPJkex1NuJQM3X"
          "chKRn3fSNXG43DBgmYomLOvtCIB2puOQIDAQAB",
          R"("})")});
  ASSERT_TRUE(imported.status.ok()) << imported.status.error_message();
  const CallResult uploaded = client.Call(
      "backup.v1.IngestService/UploadFile",
      {absl::StrCat(
          R"({"header": {)", id,
          R"(, "file_name": "file", "encoding": "AES_CBC_SEGMENTS", "encoded_size": 128, )",
          R"("segment_size": 48, "initial_vector": "IN_FRONT", "first_chunk": ")",
          "oKCgoKCgoKCgoKCgoKCgoFUOqfZqve+"
          "novBVO63FKU25kfsQGRqiL1RxJ96kqCljoaGhoaGhoaGhoaGhoaGhoX770x"
          "YP9XL8IDaMOBu73eQrHE+fBD/xE2O9rZW3nzI+oqKioqKioqKioqKioqKiog82zU9DPhHDFXBEIBF9AcA=",
          R"("}})")});
  ASSERT_TRUE(uploaded.status.ok()) << uploaded.status.error_message();
  const Json& version = uploaded.responses.at(0).at("version");
  EXPECT_EQ(version.at("storage"), "CLIENT_CIPHERTEXT");
  const CallResult downloaded =
      client.Call("backup.v1.CatalogService/DownloadFile",
                  {absl::StrCat("{", id, R"(, "file_name": "file", "version_id": )",
                                version.at("versionId").get<std::string>(), "}")});
  ASSERT_EQ(downloaded.responses.size(), 2u) << downloaded.status.error_message();
  EXPECT_EQ(downloaded.responses[1].at("chunk"),
            "aGVsbG8sIGJhY2t1cCwgaW4gc2VnbWVudHMgb2YgdGhlaXIgb3du");
}

// The service is $TEST_SERVICE where the deployment tests give one.
TEST(Reflection, IsRefusedWhereItIsOff) {
  const char* const deployed = getenv("TEST_SERVICE");
  std::optional<testing::ServiceProcess> own;
  if (deployed == nullptr) own.emplace(std::vector<std::string>{"--grpc_reflection=off"});
  const auto stub = ServerReflection::NewStub(
      grpc::CreateChannel(own ? own->address() : deployed,
                          own ? grpc::InsecureChannelCredentials() : OperatorCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  const auto stream = stub->ServerReflectionInfo(&context);
  stream->WritesDone();  // Nothing is sent, nor answered, before a stream is used.
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST(Reflection, AnErrorNamesItsReasonInTheTrailer) {
  const testing::ServiceProcess service;
  ReflectionClient client(service.address(), grpc::InsecureChannelCredentials());
  const CallResult unknown =
      client.Call("backup.v1.CatalogService/ListFiles",
                  {R"({"client_id": "12345678-9abc-4def-8123-456789abcdef"})"});
  EXPECT_EQ(unknown.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(unknown.status.error_details(), HasSubstr("CLIENT_NOT_FOUND"));
}

}  // namespace
}  // namespace backup
