#include "rpc/packed_message.h"

#include "glog/logging.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace backup::rpc {

using Traits = grpc::SerializationTraits<grpc::protobuf::MessageLite>;

grpc::ByteBuffer Pack(const grpc::protobuf::MessageLite& message) {
  grpc::ByteBuffer packed;
  bool own_buffer = false;
  const grpc::Status status = Traits::Serialize(message, &packed, &own_buffer);
  CHECK(status.ok()) << status.error_message();
  return packed;
}

bool Unpack(grpc::ByteBuffer& packed, grpc::protobuf::MessageLite& message) {
  return Traits::Deserialize(&packed, &message).ok();
}

}  // namespace backup::rpc
