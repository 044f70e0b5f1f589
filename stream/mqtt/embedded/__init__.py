"""The embedded broker's process: mosquitto where it is on the path, else amqtt."""
