"""The origin's tables, with the columns that an order touches."""

from django.db import models


class User(models.Model):
    username = models.CharField(max_length=150)

    class Meta:
        db_table = "tb_users"


class Address(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    receiver = models.CharField(max_length=20)
    place = models.CharField(max_length=50)
    mobile = models.CharField(max_length=20)

    class Meta:
        db_table = "tb_address"


class SPU(models.Model):
    name = models.CharField(max_length=50)
    sales = models.IntegerField(default=0)

    class Meta:
        db_table = "tb_spu"


class SKU(models.Model):
    name = models.CharField(max_length=50)
    spu = models.ForeignKey(SPU, on_delete=models.CASCADE)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    stock = models.IntegerField(default=0)
    sales = models.IntegerField(default=0)

    class Meta:
        db_table = "tb_sku"


class OrderInfo(models.Model):
    class PayMethod(models.IntegerChoices):
        CASH = 1
        ALIPAY = 2

    class Status(models.IntegerChoices):
        UNPAID = 1
        TO_SHIP = 2
        SHIPPED = 3
        TO_REVIEW = 4
        DONE = 5
        CANCELED = 6

    order_id = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.PROTECT)
    address = models.ForeignKey(Address, on_delete=models.PROTECT)
    total_count = models.IntegerField(default=1)
    total_amount = models.DecimalField(max_digits=10, decimal_places=2)
    freight = models.DecimalField(max_digits=10, decimal_places=2)
    pay_method = models.SmallIntegerField(choices=PayMethod.choices, default=PayMethod.CASH)
    status = models.SmallIntegerField(choices=Status.choices, default=Status.UNPAID)
    create_time = models.DateTimeField(auto_now_add=True)
    update_time = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "tb_order_info"


class OrderGoods(models.Model):
    order = models.ForeignKey(OrderInfo, related_name="skus", on_delete=models.CASCADE)
    sku = models.ForeignKey(SKU, on_delete=models.PROTECT)
    count = models.IntegerField(default=1)
    price = models.DecimalField(max_digits=10, decimal_places=2)

    class Meta:
        db_table = "tb_order_goods"
